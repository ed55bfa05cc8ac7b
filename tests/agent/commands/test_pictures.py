"""Every command, in environments that are seen as pictures."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from tests.helpers.commands import run
from tests.helpers.cut import short_probe
from tests.helpers.settings import SMALL
from worldplan.agent.acting.actors import ACTORS
from worldplan.agent.training.restore import load

ENV, MIXED = "toy_envs:ToyDot-v0", "toy_envs:ToyDotMixed-v0"
SEEN = [
    *("env.image_size=12", "env.frame_stack=2", "model.pictures.shift=1"),
    *("model.pictures.channels=[4,4]", "model.pictures.kernels=[4,3]"),
    "model.pictures.strides=[2,1]",
]
TINY = [*SMALL, *SEEN]
needs_renderer = pytest.mark.skipif("MUJOCO_GL" not in os.environ, reason="nothing renders here")


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with short_probe():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "dot"
    run("train", "--env", MIXED, *TINY, "steps=60", f"run_dir={run_dir}")
    return run_dir


@pytest.mark.parametrize("actor", ACTORS)
def test_every_actor_is_evaluated(trained: Path, actor: str) -> None:
    assert "return" in run("evaluate", trained, "--episodes", 2, "--actor", actor)


@needs_renderer
def test_a_rollout_is_filmed(trained: Path, tmp_path: Path) -> None:
    video = tmp_path / "film.mp4"
    run("rollout", trained, "--video", video)
    width, height = next(imageio_ffmpeg.read_frames(str(video)))["size"]
    assert (width, height) == (16, 12)


@needs_renderer
def test_the_future_is_drawn_beside_what_came(trained: Path, tmp_path: Path) -> None:
    plot, film = tmp_path / "plot.png", tmp_path / "film.mp4"
    run("imagine", trained, "--horizon", 4, "--plot", plot, "--video", film)
    assert plot.stat().st_size > 10_000
    width, height = next(imageio_ffmpeg.read_frames(str(film)))["size"]
    assert width == 480  # two pictures of 12 pixels, enlarged to 240
    assert height == 240 + 64


def test_a_loaded_agent_says_who_stacks_pictures(trained: Path) -> None:
    agent = load(trained)
    assert agent.act(np.zeros(2 * 3 * 144 + 2, np.float32)).shape == (1,)
    agent.reset()
    with pytest.raises(ValueError, match="make_env stacks pictures"):
        agent.act({"camera": np.zeros((12, 16, 3), np.uint8), "place": np.zeros(1)})


@pytest.mark.parametrize("context", [1, 3])
def test_what_is_collected_is_fitted_and_aims(tmp_path: Path, context: int) -> None:
    data, run_dir = tmp_path / "a.npz", tmp_path / "fit"
    run("collect", "--env", ENV, "--steps", 60, "--out", data, *SEEN[:2])
    assert np.load(data)["observation"].dtype == np.uint8
    settings = [word for word in TINY if not word.startswith("agent.proposals")]
    settings.append(f"model.context={context}")
    run("fit", data, *settings, f"run_dir={run_dir}", "--env", ENV, "--updates", 2)
    agent = load(run_dir)
    x = np.load(data)["observation"]
    agent.aim(x[0])
    for seen in x[1:4]:
        assert agent.act(seen).shape == (1,)


@pytest.mark.slow
@pytest.mark.parametrize("env", [ENV, MIXED])
def test_it_learns_to_bring_the_square_to_the_middle(tmp_path: Path, env: str) -> None:
    """All of 12 steps there are worth 12; random actions get about 6."""
    run(
        *("train", "--env", env, "steps=600", "seed_steps=200", "learner.batch_size=32"),
        *(*SEEN, "compile=off", "threads=1", f"run_dir={tmp_path / 'dot'}"),
    )
    result = json.loads((tmp_path / "dot" / "result.json").read_text())
    assert result["mean"] > 10.5
