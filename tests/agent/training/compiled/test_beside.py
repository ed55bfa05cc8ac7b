"""The process that compiles beside a run: it fills the cache, and never outlives the run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.helpers.checkpoints import same
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.compiled.beside import Beside
from worldplan.agent.training.events import Listener, StepEvent
from worldplan.agent.training.trained import identity
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvironmentSpec

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="nothing to compile with")
posix = pytest.mark.skipif(os.name != "posix", reason="has no signals")


def beside(base: dict[str, Any], settings: list[str]) -> Beside:
    spec = EnvironmentSpec.vectors(2, 1)
    return Beside(identity(resolve(base, settings), spec), threads=1, plans=(1, 2))


@posix
def test_it_ends_when_its_run_is_killed(toy: dict[str, Any], small: list[str]) -> None:
    process = beside(toy, small).process
    assert process.stdin is not None
    process.stdin.close()  # as at the end of the other process
    assert process.wait(timeout=120) == -signal.SIGKILL


def test_it_ends_with_its_run(toy: dict[str, Any], small: list[str]) -> None:
    started = beside(toy, small)
    assert started.working()
    started.end()
    assert not started.working()
    started.end()


RUN = """
import sys
from tests.agent.training.compiled.test_beside import beside
from tests.helpers.settings import SMALL
print(beside({"task": "toy", "env": {"id": "toy_envs:ToyPoint-v0"}}, SMALL).process.pid, flush=True)
sys.stdin.read()
"""


@posix
@needs_compiler
@pytest.mark.slow
def test_nothing_is_left_of_it_after_kill_9(tmp_path: Path) -> None:
    """Not the compiler that it started either."""
    env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", RUN], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        group = int(run.stdout.readline())
        while not any(tmp_path.rglob("*.cpp")):  # it compiles
            time.sleep(0.1)
        run.kill()
    until = time.monotonic() + 30
    while subprocess.run(["pgrep", "-g", str(group)], capture_output=True).returncode == 0:
        assert time.monotonic() < until, "it outlives its run"
        time.sleep(0.1)


@posix
@needs_compiler
@pytest.mark.slow
def test_a_run_finds_all_its_code_in_the_cache_and_resumes_bit_for_bit(
    toy: dict[str, Any], small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    settings = [
        *small,
        *("compile=auto", "compile_after=60", "threads=2", "steps=300", "eval_interval=60"),
        *("final_episodes=3", "checkpoint_interval=50"),
    ]

    def train(name: str, fails_at: int = -1, resume: bool = False) -> Trainer:
        class Failing(Listener):
            def on_step(self, event: StepEvent) -> None:
                if event.step == fails_at:
                    raise KeyError("broken")

        config, quiet = resolve(toy, settings), Console(quiet=True)
        trainer = Trainer(config, tmp_path / name, quiet, resume=resume, listeners=[Failing()])
        if fails_at > 0:
            with pytest.raises(KeyError, match="broken"):
                trainer.run()
        else:
            trainer.run()
        return trainer

    counters.clear()
    assert train("whole").agent.execution.compiled
    assert counters["inductor"]["fxgraph_cache_hit"] >= 4  # loss, gradient, two of decisions
    assert counters["inductor"]["fxgraph_cache_miss"] == 0
    for step in (55, 130):  # before the takeover, and after it
        name = f"part-{step}"
        assert train(name, fails_at=step).saved_step == step
        train(name, resume=True)
        assert same(tmp_path / "whole", tmp_path / name)
