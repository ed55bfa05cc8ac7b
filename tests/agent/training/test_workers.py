"""Training with environments in worker processes is the same as without, and resumes."""

import os
import signal
from pathlib import Path

import pytest

from tests.helpers.attack.digests import digest_of_run
from tests.helpers.attack.forked import SETTINGS, dies_at, in_child, train
from worldplan.agent.training import checkpoint

TWO = [*SETTINGS, "num_envs=2", "final_episodes=2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_run_with_workers_ends_as_one_without(tmp_path: Path) -> None:
    train(TWO, tmp_path / "here")
    there, settings = tmp_path / "there", [*TWO, "env.workers=2"]

    def child() -> None:
        dies_at(checkpoint, "write_text", 3)
        train(settings, there)

    assert os.WTERMSIG(in_child(child)) == signal.SIGKILL
    train(settings, there)
    assert digest_of_run(there) == digest_of_run(tmp_path / "here")
