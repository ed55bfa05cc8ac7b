"""The command is killed, and given again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.clusters.pools import lives, search_path, until
from tests.helpers.commands import run
from worldplan.agent.experiments.tune.trial import trial_dir

pytest.importorskip("optuna")
pytestmark = pytest.mark.slow


def test_a_killed_search_goes_on_to_the_same_end(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", search_path())
    words = ["tune", "--env", "toy_envs:ToyPoint-v0", "planner.horizon=1..4", "discount=0.8,0.9"]
    words += [*small, "steps=200", "--trials", "2", "--jobs", "1", "--out"]
    said = run(*words, tmp_path / "whole")
    assert "2 finished, 0 pruned, 0 refused" in said
    assert "train with its settings: worldplan train --env toy_envs:ToyPoint-v0" in said

    cut = tmp_path / "cut"
    command = [sys.executable, "-P", "-m", "worldplan", *words, str(cut)]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    saved = trial_dir(cut, 0) / "checkpoints"
    until(lambda: len(list(saved.glob("step_*"))) > 1, 600)
    child = int((trial_dir(cut, 0) / "lock").read_text().split()[1])
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until(lambda: not lives(child), 30)
    assert "goes on: 1 of 2 trials" in (again := run(*words, cut))
    assert again[again.index("toy_envs") :].replace(str(cut), "") == said[
        said.index("toy_envs") :
    ].replace(str(tmp_path / "whole"), "")
    for number in range(2):
        one, other = (trial_dir(tmp_path / out, number) / "curve.csv" for out in ("whole", "cut"))
        assert one.read_bytes() == other.read_bytes()
    assert (trial_dir(cut, 0) / "log.txt").read_text().count("parameters; replay:") == 2
    logs = [(trial_dir(cut, number) / "log.txt").read_bytes() for number in range(2)]
    assert "goes on: 2 of 2 trials" in run(*words, cut)
    assert logs == [(trial_dir(cut, number) / "log.txt").read_bytes() for number in range(2)]
