"""Films in TensorBoard."""

import io
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from worldplan.agent.agent import Agent
from worldplan.agent.config.overrides import resolve
from worldplan.agent.evaluation.film import animation, film_episode
from worldplan.agent.training.listeners.tensorboard import TensorBoard
from worldplan.envs import EnvConfig, EnvironmentSpec, make_env
from worldplan.envs.wrappers import FlatEnv


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Half a second that goes from black to white."""
    path = tmp_path / "film.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (320, 160), fps=20, quality=7)
    writer.send(None)
    for grey in np.linspace(0, 255, 10):
        writer.send(np.full((160, 320, 3), grey, np.uint8))
    writer.close()
    return path


def test_an_animation_is_the_video_made_small(video: Path) -> None:
    gif, height, width = animation(video, width=80, most=5)
    image = Image.open(io.BytesIO(gif))
    assert (height, width) == (40, 80) == image.size[::-1]
    assert getattr(image, "n_frames") == 5  # noqa: B009 (not in its types)
    assert image.info["duration"] == 100  # every second of 50 ms
    greys = []
    for k in range(5):
        image.seek(k)
        greys.append(np.asarray(image.convert("L")).mean())
    assert greys == sorted(greys)
    assert greys[-1] - greys[0] > 150


def test_tensorboard_shows_the_film(
    video: Path, tmp_path: Path, toy: dict[str, Any], small: list[str]
) -> None:
    board, run = TensorBoard(tmp_path), SimpleNamespace(config=resolve(toy, small), step=0)
    board.on_start(run)
    board.film(video, 7)
    board.on_end()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    (image,) = events.Images("evaluation/episode")
    assert image.step == 7
    film = Image.open(io.BytesIO(image.encoded_image_string))
    assert getattr(film, "n_frames") == 10  # noqa: B009 (not in its types)


def test_a_film_shows_the_end_of_the_episode(
    toy: dict[str, Any], small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(config: EnvConfig, render_mode: str | None) -> FlatEnv:
        env = make_env(config)
        grey = partial(np.full, (64, 64, 3), dtype=np.uint8)
        monkeypatch.setattr(env, "render", lambda: grey(50 * env.get_wrapper_attr("t")))
        return env

    monkeypatch.setattr("worldplan.agent.evaluation.film.make_env", made)
    toy["env"]["kwargs"] = {"limit": 4}
    config = resolve(toy, small)
    video = tmp_path / "film.mp4"
    episode = film_episode(
        Agent(config.agent, EnvironmentSpec.vectors(2, 1)), config.env, 0, video, "random"
    )
    reader = imageio_ffmpeg.read_frames(str(video))
    next(reader)
    greys = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    assert len(greys) == len(episode.observation) == 5
    assert greys == pytest.approx([0, 50, 100, 150, 200], abs=5)
