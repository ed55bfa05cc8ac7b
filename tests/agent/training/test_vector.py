"""Training in many environments, in worker processes or as one batch, killed and resumed."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.attack.digests import digest_of_run
from tests.helpers.attack.forked import SETTINGS, TOY, dies_at, in_child, train
from tests.helpers.commands import run
from worldplan.agent.config.presets import of_environment
from worldplan.agent.training import checkpoint

if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

BATCH: dict[str, Any] = of_environment("simulators.batched_envs:ToyBatch-v0")


def killed(settings: list[str], run_dir: Path, base: dict[str, Any] = TOY) -> str:
    """Trains in two lives, of which the first ends at a checkpoint."""

    def child() -> None:
        dies_at(checkpoint, "write_text", 3)
        train(settings, run_dir, base)

    assert os.WTERMSIG(in_child(child)) == signal.SIGKILL
    train(settings, run_dir, base)
    return digest_of_run(run_dir)


def test_a_killed_run_with_workers_ends_as_one_without(tmp_path: Path) -> None:
    settings = [*SETTINGS, "num_envs=2", "final_episodes=2"]
    train(settings, tmp_path / "here")
    wanted = digest_of_run(tmp_path / "here")
    assert killed([*settings, "env.workers=2"], tmp_path / "there") == wanted


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_batch_trains_and_resumes(mode: str, tmp_path: Path) -> None:
    settings = [*SETTINGS, "num_envs=3", f"env.kwargs.mode={mode}"]
    train(settings, tmp_path / "whole", BATCH)
    assert killed(settings, tmp_path / "killed", BATCH) == digest_of_run(tmp_path / "whole")


def test_a_batch_is_played_by_commands(tmp_path: Path) -> None:
    run_dir, env = tmp_path / "run", ["--env", "simulators.batched_envs:ToyBatch-v0"]
    run("train", *env, *SETTINGS, "num_envs=3", f"run_dir={run_dir}")
    run("evaluate", run_dir, "--episodes", "2")
    run("rollout", run_dir, "--dataset", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as data:
        assert data["observation"].shape[1] == 5
    run("collect", *env, "--steps", "9", "--out", tmp_path / "y.npz")
