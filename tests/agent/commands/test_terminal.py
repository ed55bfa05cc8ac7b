"""What a user sees on standard error."""

import io
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from tests.helpers.checkpoints import rewrite
from tests.helpers.commands import run
from tests.helpers.settings import HELPERS, SMALL
from worldplan.agent.api.terminal import Terminal
from worldplan.agent.commands.errors import plainly
from worldplan.agent.config.overrides import resolve
from worldplan.agent.evaluation import ticking
from worldplan.agent.training.checkpoint import find
from worldplan.agent.training.events import EvaluationEvent
from worldplan.agent.training.trainer import Trainer

TOY = ("--env", "toy_envs:ToyPoint-v0")


def errors_of(*words: object, code: int = 0) -> list[str]:
    """Lines on standard error of a command in a process of its own."""
    main = "from worldplan.agent.commands.main import main; main()"
    paths = os.pathsep.join([HELPERS, *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [sys.executable, "-c", main, *map(str, words)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert result.returncode == code, result.stderr
    return result.stderr.splitlines()


def test_an_old_setting_is_one_line(tmp_path: Path) -> None:
    words = ("train", *TOY, *SMALL, "steps=45", f"run_dir={tmp_path / 'run'}", "learner.clip=5")
    assert errors_of(*words) == [
        "worldplan: warning: the setting learner.clip is called learner.grad_clip_norm now"
    ]


def test_a_checkpoint_of_another_version_is_one_line(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run("train", *TOY, *SMALL, "steps=45", f"run_dir={run_dir}")
    now: list[str] = []

    def change(document: dict[str, Any]) -> None:
        now.append(document["versions"]["torch"])
        document["versions"]["torch"] = "1.0"

    checkpoint = find(run_dir)
    rewrite(checkpoint, change)
    line = (
        f"worldplan: warning: {checkpoint} was written with torch 1.0, now {now[0]}: "
        "results may differ"
    )
    assert errors_of("evaluate", run_dir, "--episodes", 1) == [line]
    # A resumed run reads its checkpoint twice.
    assert errors_of("train", "--resume", run_dir) == [line]


def test_the_usual_format_of_warnings_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    usual = warnings.formatwarning
    with pytest.raises(typer.Exit), plainly():
        raise ValueError("wrong")
    assert capsys.readouterr().err.startswith("worldplan: ValueError: wrong")
    assert warnings.formatwarning is usual


def test_without_a_terminal_progress_is_plain_lines(
    toy: dict[str, Any], small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while one thing takes long: what it is stands in the line."""
    monkeypatch.setattr(ticking, "FIRST", 0.02)
    out = io.StringIO()
    t = Trainer(resolve(toy, small), tmp_path, Console(file=out, width=200))
    evaluate = t.held_out.evaluate

    def slowly(step: int, heads: Mapping[str, float]) -> EvaluationEvent:
        time.sleep(0.1)
        return evaluate(step, heads)

    t.held_out.evaluate = slowly  # type: ignore[method-assign]
    t.run()
    said = out.getvalue()
    assert "nothing is compiled: as asked" in said
    assert "evaluates on 2 held-out episodes" in said
    assert re.search(r"^0:00:\d\d  step \d+/120  \d+/s  return -", said, re.M)
    assert "\x1b" not in said
    assert not [t for t in threading.enumerate() if "_work" in t.name]


def test_without_a_terminal_long_work_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "FIRST", 0.01)
    out = io.StringIO()
    with Terminal(file=out).at_work() as say:
        say("step 1\x1b[2J")
        while "step 1" not in out.getvalue():
            time.sleep(0.01)
        say("step 2")
        while "step 2" not in out.getvalue():
            time.sleep(0.01)
    assert "\x1b" not in out.getvalue()
