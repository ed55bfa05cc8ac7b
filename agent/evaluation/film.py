"""Films of episodes.

Shapes: L decisions of an episode, D observation, A action.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
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
from worldplan.agent.evaluation.evaluate import NO_LIMIT
from worldplan.envs import EnvConfig, SyncVectorEnv, choose_backend, make_env
from worldplan.envs.rendering import backend
from worldplan.envs.rendering.frames import enlarged, rendered
from worldplan.envs.wrappers import FlatEnv

_LEAST = 240  # pixels of a film's height, where the agent sees small pictures


class Video(AbstractContextManager["Video"]):
    """An MP4 file, written frame by frame; it is there once the context is left without an error.

        with Video(path, fps=30, quality=7) as video:
            video.add(frame)

    Args:
        fps: frames a second.
        quality: 0 to 10, best.

    Raises:
        OSError: the film cannot be written whole.
    """

    def __init__(self, path: Path, fps: float, quality: float) -> None:
        self._path, self._fps, self._quality = path, fps, quality
        self._draft = path.with_name(f".{path.stem}.tmp{path.suffix}")
        self._writer: Generator[None, NDArray[np.uint8] | None] | None = None
        self._shape: tuple[int, ...] = ()
        self._frames = 0

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Adds a frame (height, width, 3). Raises ValueError if it is not as large as the first."""
        if self._writer is None:
            self._shape = frame.shape
        elif frame.shape != self._shape:
            raise ValueError(
                f"{self._path}: expected frames of one shape, got {frame.shape} after {self._shape}"
            )
        # Its colours are stored for two by two pixels: one more row or column, if it must be.
        frame = np.pad(frame, [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)], "edge")
        with self._plainly():
            if self._writer is None:
                self._writer = imageio_ffmpeg.write_frames(
                    str(self._draft), frame.shape[1::-1], fps=self._fps, quality=self._quality,
                    macro_block_size=2,
                )  # fmt: skip
                self._writer.send(None)
            self._writer.send(np.ascontiguousarray(frame))
        self._frames += 1

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if self._writer is None:
                return
            self._writer.close()
            if kind is None:
                with self._plainly():
                    written, _ = imageio_ffmpeg.count_frames_and_secs(str(self._draft))
                if written != self._frames:
                    raise OSError(
                        f"{self._path}: {written} of {self._frames} frames could be written; is "
                        "the disk full?"
                    )
                self._draft.replace(self._path)
        finally:
            self._draft.unlink(missing_ok=True)

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Errors of ffmpeg have many lines; the first says what is wrong."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise OSError(f"{self._path} cannot be written: {reason}") from error


def prepare_rendering() -> str:
    """Chooses a renderer that needs no display; call it before the first environment is made.

    Returns a line that says which one.

    Raises:
        ValueError: there is none; the message names the Debian package to install.
    """
    wanted, chosen = os.environ.get("MUJOCO_GL"), choose_backend()
    backend.use(chosen)
    note = f" (MUJOCO_GL={wanted} does not work here)" if wanted and wanted != chosen else ""
    return f"rendering by {chosen}{note}"


def film_episode(
    agent: Agent,
    env: EnvConfig,
    seed: int,
    video: Path | None,
    actor: str | Actor[Any] = "planner",
    watch: Callable[[Step], None] | None = None,
    *,
    longest: int | None = None,
) -> Episode:
    """Plays one episode without exploration; films it in real time to `video`, an MP4, if given.

    Args:
        actor: the name of one of the agent's actors, or any actor.
        watch: called with each decision.
        longest: decisions after which the episode is cut, as in `evaluate`.
    """
    world = make_env(env, render_mode="rgb_array" if video else None)
    who = agent.actor(actor) if isinstance(actor, str) else actor
    vector = SyncVectorEnv([world], env)
    events: Iterable[Reset | Step] = rollout(who, vector, [seed], agent.generator(seed))
    events = islice(events, 1 + (longest or vector.max_episode_steps or NO_LIMIT))
    try:
        if video is not None:
            least = _LEAST if env.observe == "pixels" else 1
            events = _filmed(events, world, video, least)
        if watch is not None:
            events = _watched(events, watch)
        return record(events)
    finally:
        world.close()


def _filmed(
    events: Iterable[Reset | Step], world: FlatEnv, video: Path, least: int
) -> Iterator[Reset | Step]:
    """The same events, with a frame after each: the last one shows how the episode ended.

    Pictures lower than `least` pixels are enlarged.
    """
    with Video(video, world.metadata["render_fps"], quality=7) as film:
        for event in events:
            film.add(enlarged(rendered(world), least))
            yield event


def check_rendering(env: EnvConfig) -> None:
    """Renders a frame, so that a film does not fail at its end. Raises ValueError if it would."""
    world = make_env(env, render_mode="rgb_array")
    try:
        world.reset(seed=0)
        rendered(world)
    finally:
        world.close()


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
    size, fps = about["size"], about["fps"] or 1000  # 0: too fast to say
    frames = [Image.frombytes("RGB", size, frame) for frame in reader]
    # A GIF counts in hundredths of a second, and two are the least that is shown as said.
    step = max(-(-len(frames) // most), math.ceil(fps / 50))
    height = round(width * size[1] / size[0])
    first, *rest = [frame.resize((width, height)) for frame in frames[::step]]
    gif = io.BytesIO()
    ends = np.round(100 * step / fps * np.arange(len(rest) + 2)).astype(int)
    durations = (10 * np.diff(ends)).tolist()  # ms
    first.save(gif, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    return gif.getvalue(), height, width
