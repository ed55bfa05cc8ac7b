"""Runs in forked processes, which may be killed or run out of room at any moment."""

import gc
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.helpers.settings import SMALL
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import of_environment
from worldplan.agent.training.disk import run_folder
from worldplan.agent.training.trainer import Trainer

_ID = "toy_envs:ToyPoint-v0"
# As the command makes it of --env.
TOY: dict[str, Any] = of_environment(_ID) | {"env": {"id": _ID, "kwargs": {"limit": 5}}}
SETTINGS = [*SMALL, "seed_steps=8", "steps=40", "eval_interval=15", "checkpoint_interval=10",
            "eval_episodes=1", "final_episodes=1", "learner.batch_size=8"]  # fmt: skip


def train(settings: list[str], run_dir: Path, base: dict[str, Any] = TOY) -> None:
    """Starts the run, or resumes it."""
    resume = run_folder.holds_run(run_dir)
    Trainer(resolve(base, settings), run_dir, Console(quiet=True), resume=resume).run()


def dies_at(where: Any, name: str, call: int) -> None:
    """From now on this process dies before the given call of a function."""
    original, calls = getattr(where, name), iter(range(1, 10**9))

    def dying(*words: Any, **how: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*words, **how)

    setattr(where, name, dying)


def started(act: Callable[[], object]) -> int:
    """A forked process that runs `act` and exits with 0, or with 1 after an error; its id."""
    # Garbage is for this process: a pool of threads, as MuJoCo's rollouts have, waits in the other
    # one for threads that are not there.
    gc.collect()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return child


def in_child(act: Callable[[], object], after: float | None = None) -> int:
    """Runs `act` in a forked process, killed after some seconds; returns its wait status."""
    child = started(act)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]
