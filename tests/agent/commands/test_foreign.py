"""An exception of other people's code is theirs in every command: their traceback, and whose it is.

Ours stay one line.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import DependencyNotInstalled
from typer.testing import CliRunner

from tests.helpers.commands import run
from tests.helpers.settings import SMALL
from worldplan.agent import load
from worldplan.agent.commands.main import app
from worldplan.agent.training import foreign
from worldplan.envs.wrappers import EnvironmentFault

ENV = "toy_envs:ToySlider-v0"  # a MuJoCo one, which can be imagined
FIT = [*SMALL[:5], "compile=off", "threads=1"]


def broken(*_: Any, **__: Any) -> Any:
    raise ValueError("it is broken\nin two lines")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "toy"
    steps = ["steps=45", "eval_max_steps=5", "env.kwargs.limit=10"]
    run("train", "--env", ENV, *SMALL, *steps, f"run_dir={run_dir}")
    return run_dir


COMMANDS = {
    "train": ["--env", ENV, *SMALL, "run_dir={out}/run"],
    "evaluate": ["{run}", "--episodes", "1"],
    "rollout": ["{run}", "--dataset", "{out}/x.npz"],
    "rollout --explain": ["{run}", "--explain", "{out}/x.csv"],
    "imagine": ["{run}", "--plot", "{out}/x.png", "--horizon", "3"],
    "collect": ["--env", ENV, "--steps", "9", "--out", "{out}/x.npz"],
    "fit": ["--env", ENV, "{data}", "--updates", "1", *FIT, "run_dir={out}/fit"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "x.npz"
    run("collect", "--env", ENV, "--steps", "9", "--out", file)
    return file


@pytest.mark.parametrize("method", ["__init__", "reset", "step"])
@pytest.mark.parametrize("command", list(COMMANDS))
def test_an_environment_that_raises(
    command: str, method: str, trained: Path, data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if command == "fit" and method == "step":
        pytest.skip("a fit plays nothing")
    monkeypatch.setattr(sys.modules["toy_envs"].Slider, method, broken)
    words = [word.format(run=trained, out=tmp_path, data=data) for word in COMMANDS[command]]
    done = CliRunner().invoke(app, [command.split()[0], *words])
    assert done.exit_code == 1
    *above, last = done.stderr.strip().splitlines()
    assert last.startswith(
        "worldplan: the environment raised ValueError: it is broken in two lines"
    )
    assert "Traceback (most recent call last):" in above
    assert "test_foreign.py" in done.stderr
    assert "rollout.py" not in done.stderr, "frames of this package"
    assert not list(tmp_path.glob("*.npz"))


def test_a_renderer_that_raises(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["toy_envs"].Slider, "render", broken, raising=False)
    film = tmp_path / "x.mp4"
    said = run("rollout", trained, "--video", film, code=1)
    assert "worldplan: the renderer raised ValueError: it is broken in two lines" in said
    assert "test_foreign.py" in said
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_one_line(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of Pendulum, which is drawn by pygame: Gymnasium says what to install."""

    def no_pygame(*_: Any) -> Any:
        raise DependencyNotInstalled("pygame is not installed, run `pip install pygame`")

    monkeypatch.setattr(sys.modules["toy_envs"].Slider, "render", no_pygame, raising=False)
    done = CliRunner().invoke(app, ["rollout", str(trained), "--video", str(tmp_path / "x.mp4")])
    assert done.stderr == "worldplan: pygame is not installed, run `pip install pygame`\n"


def test_what_acts_on_a_terminal_is_escaped(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clears(*_: Any) -> Any:
        raise ValueError("\x1b[2J")

    monkeypatch.setattr(sys.modules["toy_envs"].Slider, "step", clears)
    assert "\x1b" not in run("evaluate", trained, code=1)


def test_an_environment_that_exits(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["toy_envs"].Slider, "step", lambda *_: sys.exit(0))
    assert "the environment raised SystemExit: 0" in run("evaluate", trained, code=1)


def test_a_cost_that_raises(trained: Path) -> None:
    agent = load(trained)
    agent.minimise(broken, lambda features: features)
    with pytest.raises(ValueError, match="it is broken") as caught:
        agent.act(np.zeros(agent.spec.observation.shape))
    assert foreign.origin(caught.value) == "the cost given to Agent.minimise"
    agent.minimise(lambda x: torch.zeros(3), lambda features: features)
    with pytest.raises(ValueError, match="the cost must return") as caught:
        agent.act(np.zeros(agent.spec.observation.shape))
    assert foreign.origin(caught.value) is None


def test_our_own_errors_stay_one_line(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = np.full(5, np.nan, np.float32), 0.0, False, False, {}
    monkeypatch.setattr(sys.modules["toy_envs"].Slider, "step", lambda *_: nothing)
    done = CliRunner().invoke(app, ["evaluate", str(trained)])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "the observation is not finite" in done.stderr
    assert EnvironmentFault.__name__ not in done.stderr
