"""A process that compiles what a run will need, into PyTorch's cache on disk.

    python -m worldplan.agent.training.compiled.beside < RUN

It has a low priority, and ends with the run, however that ends: it reads a pipe from it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from worldplan.agent.agent import Agent
from worldplan.agent.learning.compiling import resolve
from worldplan.agent.training.compiled.switching import rehearse
from worldplan.agent.training.restore import read_identity

_NICE = 10  # of 19


class Beside:
    """The process, as the run sees it."""

    def __init__(self, identity: dict[str, Any], threads: int, plans: Sequence[int]) -> None:
        """Starts it.

        Args:
            identity: of the run, see `restore.identity`.
            threads: that the compiled code will have.
            plans: see `rehearse`.

        Raises:
            OSError: it cannot be started.
        """
        # A core for the run, the others for the C++ compiler.
        workers = {"TORCHINDUCTOR_COMPILE_THREADS": str(max(1, (os.cpu_count() or 1) - 1))}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the run's; and a group, with the C++ compiler
            env={**workers, **os.environ},
        )
        assert self.process.stdin is not None
        line = json.dumps({"run": identity, "threads": threads, "plans": list(plans)}) + "\n"
        with suppress(BrokenPipeError):  # it failed already
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()

    def working(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        """Ends it, if it still works."""
        if self.working():
            _kill(self.process.pid)
        self.process.wait()
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()


def _kill(group: int) -> None:
    """Ends a process and what it started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    else:
        os.kill(group, signal.SIGTERM)  # on Windows: at once


def _follow(pipe: int) -> None:
    """Ends this process when the run ends: then the pipe does."""
    while os.read(pipe, 1):
        pass
    _kill(os.getpid())


def main() -> None:
    """Reads a line of JSON from standard input, and compiles."""
    if hasattr(os, "nice"):
        os.nice(_NICE)
    source = sys.stdin.fileno()
    with os.fdopen(os.dup(source), "rb", buffering=0) as lines:
        told = json.loads(lines.readline())
    threading.Thread(target=_follow, args=(source,), daemon=True).start()
    config, spec = read_identity(told["run"])
    torch.set_num_threads(told["threads"])
    execution, _ = resolve("on", config.update_precision, config.plan_precision, config.device)
    agent = Agent(config.agent, spec, execution)
    rehearse(agent, agent.make_learner(), told["plans"])


if __name__ == "__main__":
    main()
