"""Episodes filmed.

Shapes: L decisions of an episode, D observation, A action.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from worldplan.agent.agent import Actor, Agent
from worldplan.agent.data.dataset import Episode
from worldplan.envs import EnvConfig, choose_backend, goals_of, make_env


class Video:
    """An MP4 that grows by a frame at a time. Close it: only then is it whole.

    Args:
        fps: frames a second.
        quality: 0 to 10, best.
    """

    def __init__(self, path: Path, fps: float, quality: float) -> None:
        self._path, self._fps, self._quality = path, fps, quality
        self._writer: Generator[None, NDArray[np.uint8] | None] | None = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Frame (height, width, 3); all are as large as the first."""
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
    """Picks a way to draw without a display; call before the first environment is made.

    Raises:
        ValueError: there is none; names the Debian package to install.
    """
    os.environ["MUJOCO_GL"] = choose_backend()


def film_episode(
    agent: Agent, env: EnvConfig, seed: int, video: Path | None, actor: Actor = "planner"
) -> Episode:
    """Plays one episode without exploration; films it in real time to `video`, an MP4, if given."""
    world = make_env(env, render_mode="rgb_array" if video else None)
    generator = torch.Generator().manual_seed(seed)
    observation, _ = world.reset(seed=seed)
    state = agent.initial(1)
    observations, actions, rewards = [observation], [], []
    film = Video(video, world.metadata["render_fps"], quality=7) if video else None
    terminated = truncated = False
    try:
        with agent.aiming(goals_of([world])):
            while True:
                if film:
                    film.add(np.asarray(world.render()))
                if terminated or truncated:  # its last frame shows how it ended
                    break
                seen = torch.from_numpy(observation)[None]
                action, state, _ = agent.step(seen, state, generator, actor=actor)
                observation, reward, terminated, truncated, _ = world.step(action[0].numpy())
                observations.append(observation)
                actions.append(action[0].numpy())
                rewards.append(reward)
    finally:
        if film:
            film.close()
        world.close()
    return Episode(
        np.stack(observations),
        np.stack(actions),
        np.asarray(rewards, np.float32),
        bool(terminated),
        bool(truncated),
    )


def animation(video: Path, width: int = 240, most: int = 200) -> tuple[bytes, int, int]:
    """A video as an animated GIF, its height and its width: small enough for TensorBoard.

    Args:
        width: pixels.
        most: frames; of a longer video every second, third ... is taken.
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
