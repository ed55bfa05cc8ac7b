"""Films in TensorBoard."""

import io
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import imageio_ffmpeg
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from worldplan.agent.agent import Agent
from worldplan.agent.config.overrides import resolve
from worldplan.agent.evaluation.film import animation, film_episode
from worldplan.agent.training.listeners.tensorboard import TensorBoard
from worldplan.agent.training.trainer import Trainer
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


class Screen(gym.Env[Any, Any]):
    """An environment that renders what it is told to."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, show: Any, render_mode: str | None = None) -> None:
        self.show, self.render_mode, self.t = show, render_mode, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.zeros(1, np.float32), 0.0, False, self.t == 6, {}

    def render(self) -> Any:
        return self.show(self.t)


def filmed(show: Any, tmp_path: Path, agent_settings: list[str], **metadata: Any) -> Path:
    """A film of an episode of seven frames."""
    made = type("Made", (Screen,), {"metadata": {**Screen.metadata, **metadata}})
    gym.register("toy/Screen-v0", lambda **kwargs: made(show, **kwargs))
    try:
        config = resolve({"task": "toy", "env": {"id": "toy/Screen-v0"}}, agent_settings)
        agent = Agent(config.agent, EnvironmentSpec.vectors(1, 1))
        film_episode(agent, config.env, 0, tmp_path / "film.mp4", "random")
        return tmp_path / "film.mp4"
    finally:
        del gym.registry["toy/Screen-v0"]


def pictures(video: Path) -> tuple[Any, dict[str, Any]]:
    """Frames (T, height, width, 3) of a film, and what it says of itself."""
    reader = imageio_ffmpeg.read_frames(str(video))
    about: Any = next(reader)
    width, height = about["size"]
    return np.stack([np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in reader]), about


def stripes(t: int, channels: int = 3) -> Any:
    """Two colours side by side, which are others in each frame; 41 x 50."""
    frame = np.zeros((41, 50, channels), np.uint8)
    frame[:, :25, 0], frame[:, 25:, 1] = 40 * t, 200
    frame[..., 3:] = 255
    return frame


@pytest.mark.parametrize(
    "convert",
    [
        lambda frame: frame,
        lambda frame: np.dstack([frame, frame[..., 0]]),
        lambda frame: frame.astype(np.int64),
        lambda frame: frame[::-1][::-1],
        lambda frame: np.asfortranarray(frame),
        lambda frame: frame.tolist(),
    ],
    ids=["rgb", "rgba", "int64", "flipped", "fortran", "list"],
)
def test_frames_are_shown_as_they_were_rendered(
    convert: Any, tmp_path: Path, small: list[str]
) -> None:
    frames, about = pictures(filmed(lambda t: convert(stripes(t)), tmp_path, small))
    assert frames.shape == (7, 42, 50, 3)  # the last row is there twice
    assert about["fps"] == 20
    shown = frames[:, 5:36, [10, 40]].mean(1)  # in the middle of each stripe
    for t in range(7):
        np.testing.assert_allclose(shown[t], [[40 * t, 0, 0], [0, 200, 0]], atol=14)
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1)])
def test_grey_frames_are_grey(shape: tuple[int, ...], tmp_path: Path, small: list[str]) -> None:
    frames, _ = pictures(filmed(lambda t: np.full(shape, 30 * t, np.uint8), tmp_path, small))
    np.testing.assert_allclose(frames[:, 32, 32], np.outer(30 * np.arange(7), np.ones(3)), atol=6)


@pytest.mark.parametrize(
    ("show", "message"),
    [
        (lambda t: None, "got None"),
        (lambda t: "text", "got 'text'"),
        (lambda t: [stripes(t), stripes(t)], r"got uint8 of shape \(2, 41, 50, 3\)"),
        (lambda t: np.zeros((3, 64, 64), np.uint8), r"got uint8 of shape \(3, 64, 64\)"),
        (lambda t: np.zeros((64, 64, 2), np.uint8), r"got uint8 of shape \(64, 64, 2\)"),
        (lambda t: np.zeros((0, 64, 3), np.uint8), r"got uint8 of shape \(0, 64, 3\)"),
        (lambda t: np.ones((64, 64, 3)), "expected .* whole numbers .* got float64$"),
        (lambda t: np.full((64, 64, 3), 256), "got int64, 256 to 256"),
        (lambda t: np.zeros((64, 64 + t, 3), np.uint8), "expected frames of one shape"),
    ],
)
def test_what_is_no_picture_is_refused(
    show: Any, message: str, tmp_path: Path, small: list[str]
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        filmed(show, tmp_path, small)
    assert len(str(refused.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("said", "fps"), [(50, 50), (12.5, 12.5), (0.5, 0.5), (None, 30), ("fast", 30), (0, 30)]
)
def test_a_film_has_the_speed_that_the_environment_says(
    said: Any, fps: float, tmp_path: Path, small: list[str]
) -> None:
    frames, about = pictures(filmed(stripes, tmp_path, small, render_fps=said))
    assert (about["fps"], len(frames)) == (fps, 7)


def test_a_film_that_cannot_be_written_is_one_line(tmp_path: Path, small: list[str]) -> None:
    with pytest.raises(OSError, match=r"nowhere/film\.mp4 cannot be written: ") as failed:
        filmed(stripes, tmp_path / "nowhere", small)
    assert len(str(failed.value).splitlines()) == 1


def test_a_film_that_lacks_frames_is_not_kept(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imageio_ffmpeg, "count_frames_and_secs", lambda path: (3, 0.1))
    with pytest.raises(OSError, match="3 of 7 frames could be written"):
        filmed(stripes, tmp_path, small)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_filmed_is_refused_before_training(tmp_path: Path, small: list[str]) -> None:
    config = resolve({"task": "toy", "env": {"id": "toy_envs:ToyPoint-v0"}}, [*small, "video=true"])
    with pytest.raises(ValueError, match="render"):
        Trainer(config, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()
