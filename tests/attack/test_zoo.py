"""Misbehaving environments: learned from, or refused in one line. Never anything else.

An exception of an environment's own code is the user's: its traceback is shown, and one line.
"""

import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.helpers.attack import zoo
from tests.helpers.settings import SMALL
from worldplan.agent.commands.main import app
from worldplan.agent.training.checkpoint import find, read

RAISE = "init raises", "reset raises", "step raises", "step exits", "close raises", "render raises"
STEPS = ["steps=12", "seed_steps=6", "eval_episodes=1", "final_episodes=1", "eval_max_steps=5"]


@pytest.mark.parametrize("how", [*zoo.REFUSED, *zoo.LEARNS, *zoo.EITHER])
def test_it_is_learned_from_or_refused_in_one_line(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = "worldplan.agent.experiments.report.run_curve.plot_curve"
    monkeypatch.setattr(nothing, lambda run_dir: None)
    monkeypatch.setattr("worldplan.agent.evaluation.film.prepare_rendering", lambda: "")
    run_dir = tmp_path / "run"
    words = ["train", "--env", "attack.zoo:Odd-v0", f"env.kwargs.how={how}", f"run_dir={run_dir}"]
    words += [f"video={how.startswith('render')}"]
    done = CliRunner().invoke(app, [*words, *SMALL, *STEPS])
    warning = "worldplan: warning: "
    said = [line for line in done.stderr.splitlines() if line and not line.startswith(warning)]
    assert isinstance(done.exception, SystemExit | None), repr(done.exception)
    if done.exit_code == 0:
        assert how not in zoo.REFUSED
        tensors, state = read(find(run_dir))
        assert state["counters"]["step"] >= 12
        assert all(np.isfinite(v.numpy()).all() for k, v in tensors.items() if "random" not in k)
        return
    assert done.exit_code == 1
    assert how not in zoo.LEARNS, done.stderr
    lines = [line for line in said if line.startswith("worldplan: ")]
    assert len(lines) == 1, done.stderr
    assert "--debug shows" not in done.stderr
    if how in RAISE:
        assert "attack/zoo.py" in done.stderr
        who = "the renderer" if how.startswith("render") else "the environment"
        assert f"{who} raised" in lines[0]
    else:
        assert said == lines, done.stderr
    if how in ("spaces change", "bounds change") or how.startswith("render"):
        assert not list(tmp_path.iterdir()), "noticed before training"


@pytest.mark.parametrize("command", ["train", "collect"])
def test_a_reset_that_never_ends_is_left_by_the_first_signal(command: str, tmp_path: Path) -> None:
    words = [command, "--env", "attack.zoo:Odd-v0", "env.kwargs.how=reset hangs"]
    run_dir = tmp_path / "run"
    if command == "collect":
        words += ["--out", str(tmp_path / "x.npz")]
    else:
        words += [f"run_dir={run_dir}", *SMALL, *STEPS]
    began = time.monotonic()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 130
    assert time.monotonic() - began < 50
    assert "worldplan: stopped" in done.stderr.splitlines()[-1]
    assert run_dir.exists() == (command == "train")
