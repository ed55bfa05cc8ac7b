"""`worldplan.train`: the command from Python, with objects and functions."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

import worldplan
from tests.helpers.commands import run
from tests.helpers.settings import HELPERS, SMALL
from tests.helpers.toy_envs import Point
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.checkpoint import find, read
from worldplan.agent.training.events import EvaluationEvent, StepEvent

# The same as `SMALL`, as one writes it in Python.
SETTINGS: dict[str, Any] = {
    "model": {"embedding": 16, "width": 16, "simnorm_group": 4},
    "heads": {"width": 16, "outcome_width": 16, "bins": 21},
    "learner.batch_size": np.int64(16),
    "planner": {"samples": 16, "elites": 4, "iterations": 2},
    "agent": {"proposals": 4},
    **{"seed_steps": 40, "compile": "off", "threads": 1, "eval_episodes": 2, "final_episodes": 2},
}
FEW: dict[str, Any] = {**SETTINGS, "steps": 44, "eval_interval": 44, "quiet": True}


def brief() -> gym.Env[Any, Any]:
    return TimeLimit(Point(), 7)


def test_settings_are_those_of_the_command(toy: dict[str, Any]) -> None:
    assert resolve(toy, settings=SETTINGS) == resolve(toy, SMALL)
    kinds = {"planner": {"horizon": 2, "kind": "icem"}, "model": "ensemble"}
    assert resolve(toy, settings=kinds) == resolve(
        toy, ["planner=icem", "planner.horizon=2", "model=ensemble"]
    )


def test_it_trains_as_the_command_does(tmp_path: Path) -> None:
    few = {**FEW, "run_dir": tmp_path / "a"}
    agent = worldplan.train("toy_envs:ToyPoint-v0", **few)
    assert agent.act(np.zeros(2)).shape == (1,)
    words = [*SMALL, "steps=44", "eval_interval=44", f"run_dir={tmp_path / 'b'}"]
    run("train", "--env", "toy_envs:ToyPoint-v0", *words)
    found = [(tmp_path / name / "curve.csv").read_bytes() for name in "ab"]
    assert found[0] == found[1]
    assert (tmp_path / "a" / "curve.png").exists()


def test_a_function_trains_and_is_given_again_to_resume(tmp_path: Path) -> None:
    class Stop:
        def on_step(self, event: StepEvent) -> bool:
            return event.step < 20

    seen: list[int] = []

    def evaluated(event: EvaluationEvent) -> None:
        seen.append(event.step)

    few = {**FEW, "run_dir": tmp_path / "run"}
    worldplan.train(brief, callbacks=[Stop(), evaluated], **few)
    assert not seen
    assert read(find(tmp_path / "run"))[1]["counters"]["step"] == 20
    gym.registry.pop("python/brief")  # as in another process
    said = run("train", "--resume", tmp_path / "run", code=1)
    assert "expected it again, in Python" in said
    with pytest.raises(ValueError, match="a run that goes on has its own settings"):
        worldplan.train(resume=tmp_path / "run", seed=3)
    with pytest.raises(ValueError, match=f"at least the run's {FEW['steps']} steps, got 3"):
        worldplan.train(resume=tmp_path / "run", steps=3)
    with pytest.raises(ValueError, match="was made in 'python/brief'"):
        worldplan.train("inverted-pendulum", resume=tmp_path / "run")
    agent = worldplan.train(lambda: brief(), resume=tmp_path / "run", quiet=True)
    assert agent.spec.observation.size == 2
    more = FEW["steps"] + 20
    worldplan.train(lambda: brief(), resume=tmp_path / "run", steps=more, quiet=True)
    assert read(find(tmp_path / "run"))[1]["counters"]["step"] == more


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (None, {}, "expected a preset, a Gymnasium id or an environment first"),
        (None, {"env": "InvertedPendulum-v5"}, "a Gymnasium id or an environment first"),
        ("inverted-pendulm", {}, "Did you mean 'inverted-pendulum'"),
        ("Pendulun-v1", {}, "Did you mean 'Pendulum-v1'"),
        ("inverted-pendulum", {"planner": {"horizn": 5}}, "Did you mean 'planner.horizon'"),
        ("inverted-pendulum", {"planner.horizn": 5}, "Did you mean 'planner.horizon'"),
        ("inverted-pendulum", {"sede": 5}, "Did you mean 'seed'"),
        ("inverted-pendulum", {"steps": True}, "expected a number, got on or off"),
        ("inverted-pendulum", {"callback": [print]}, "Did you mean 'callbacks'"),
        ("inverted-pendulum", {"callbacks": [3]}, "expected as callback"),
        ("inverted-pendulum", {"callbacks": 3}, "expected as callback"),
        (Point(), {}, "has no spec to make another from"),
    ],
)
def test_mistakes_leave_nothing(
    task: object,
    settings: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        worldplan.train(task, **{"compile": "off", "quiet": True, **settings})
    assert not list(tmp_path.iterdir())


class Interrupts:
    """Somebody presses Ctrl-C in the fifth step."""

    def on_step(self, event: StepEvent) -> None:
        if event.step == 5:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_saves_and_returns_where_one_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {**FEW, "callbacks": [Interrupts()]}
    monkeypatch.delattr(sys, "ps1", raising=False)
    with pytest.raises(KeyboardInterrupt) as error:
        worldplan.train(brief, **few, run_dir=tmp_path / "script")
    assert "resume by: worldplan.train(FUNCTION, resume=" in error.value.__notes__[0]
    monkeypatch.setattr(sys, "ps1", "In [1]: ", raising=False)
    worldplan.train(brief, **few, run_dir=tmp_path / "notebook")
    for name in ("script", "notebook"):
        assert read(find(tmp_path / name))[1]["counters"]["step"] == 5


SCRIPT = f"""
import sys
sys.path.append({HELPERS!r})
import toy_envs, worldplan
print("begins")
agent = worldplan.train(toy_envs.Point, **{ {**FEW, "learner.batch_size": 16}!r})
print(agent.act([0.0, 0.0]).shape)
"""


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "begins\n(1,)\n"
    assert len(list((tmp_path / "runs").iterdir())) == 1
