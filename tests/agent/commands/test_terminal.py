"""What a user sees on standard error."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.helpers.checkpoints import rewrite
from tests.helpers.commands import run
from tests.helpers.settings import HELPERS, SMALL
from worldplan.agent.commands.errors import plainly
from worldplan.agent.training.checkpoint import find

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
