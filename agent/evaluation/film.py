"""Films of episodes.

Shapes: L decisions of an episode, D observation, A action.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worldplan.agent.acting.actors import Actor
from worldplan.agent.acting.collect import record
from worldplan.agent.acting.rollout import Reset, Step, rollout
from worldplan.agent.agent import Agent
from worldplan.agent.data.dataset import Episode
from worldplan.envs import EnvConfig, VectorEnv, choose_backend, make_env
from worldplan.envs.wrappers import FlatEnv


class Video:
    """An MP4 file, written frame by frame. It is complete only once it is closed.

    Args:
        fps: frames a second.
        quality: 0 to 10, best.
    """

    def __init__(self, path: Path, fps: float, quality: float) -> None:
        self._path, self._fps, self._quality = path, fps, quality
        self._writer: Generator[None, NDArray[np.uint8] | None] | None = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Adds a frame (height, width, 3); all frames have the size of the first."""
        if self._writer is None:
            size = frame.shape[1::-1]
            self._writer = imageio_ffmpeg.write_frames(
                str(self._path), size, fps=self._fps, quality=self._quality
            )
            self._writer.send(None)
        self._writer.send(np.ascontiguousarray(frame))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def prepare_rendering() -> None:
    """Chooses a renderer that needs no display; call it before the first environment is made.

    Raises:
        ValueError: there is none; the message names the Debian package to install.
    """
    os.environ["MUJOCO_GL"] = choose_backend()


def film_episode(
    agent: Agent,
    env: EnvConfig,
    seed: int,
    video: Path | None,
    actor: str | Actor[Any] = "planner",
    watch: Callable[[Step], None] | None = None,
) -> Episode:
    """Plays one episode without exploration; films it in real time to `video`, an MP4, if given.

    Args:
        actor: the name of one of the agent's actors, or any actor.
        watch: called with each decision.
    """
    world = make_env(env, render_mode="rgb_array" if video else None)
    who = agent.actor(actor) if isinstance(actor, str) else actor
    events: Iterable[Reset | Step] = rollout(
        who, VectorEnv([world], env), [seed], agent.generator(seed)
    )
    try:
        if video is not None:
            events = _filmed(events, world, video)
        if watch is not None:
            events = _watched(events, watch)
        return record(events)
    finally:
        world.close()


def _filmed(events: Iterable[Reset | Step], world: FlatEnv, video: Path) -> Iterator[Reset | Step]:
    """The same events, with a frame after each: the last one shows how the episode ended."""
    film = Video(video, world.metadata["render_fps"], quality=7)
    try:
        for event in events:
            film.add(np.asarray(world.render()))
            yield event
    finally:
        film.close()


def _watched(
    events: Iterable[Reset | Step], watch: Callable[[Step], None]
) -> Iterator[Reset | Step]:
    """The same events, shown to `watch`."""
    for event in events:
        if isinstance(event, Step):
            watch(event)
        yield event


def animation(video: Path, width: int = 240, most: int = 200) -> tuple[bytes, int, int]:
    """A video as an animated GIF, its height and its width: small enough for TensorBoard.

    Args:
        width: pixels.
        most: frames; of a longer video only every second, third, ... frame is taken.
    """
    reader = imageio_ffmpeg.read_frames(str(video))
    about = next(reader)
    size, fps = about["size"], about["fps"]
    frames = [Image.frombytes("RGB", size, frame) for frame in reader]
    step = -(-len(frames) // most)
    height = round(width * size[1] / size[0])
    first, *rest = [frame.resize((width, height)) for frame in frames[::step]]
    gif = io.BytesIO()
    duration = 1000 * step / fps  # ms a frame
    first.save(gif, "GIF", save_all=True, append_images=rest, duration=duration, loop=0)
    return gif.getvalue(), height, width
