"""Jobs as processes of this machine."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from worldplan.agent.experiments.pool.jobs import Job, Pool

_PR_SET_PDEATHSIG = 1


class LocalPool(Pool):
    """The embedded default."""

    @contextmanager
    def open(self) -> Iterator[int]:
        yield os.cpu_count() or 1

    def start(self, job: Job) -> LocalProcess:
        return LocalProcess(started(job.command(), job.log))


class LocalProcess:
    """A job that runs here."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def state(self) -> Literal["running", "over"]:
        return "running" if self.process.poll() is None else "over"

    def stop(self) -> None:
        self.process.terminate()

    def wait(self) -> None:
        self.process.wait()


def started(
    words: Sequence[str],
    log: Path,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a module with its words as a process, with one thread.

    On Linux it ends with this one, however this one ends: else it would still have the run's folder
    when the same command is given again.

    Args:
        folder: that it works in; None: this one.
        env: variables that it has besides those here.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            # -P: modules of the folder one works in must not stand in for the standard library's.
            [sys.executable, "-P", "-m", *words],
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, **(env or {}), "OMP_NUM_THREADS": "1"},
            preexec_fn=_ending_with(os.getpid()),
        )


def _ending_with(parent: int) -> Callable[[], None] | None:
    """What a child calls first, so that it is killed when its parent ends."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # found here: between fork and exec little may be done

    def tied() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)

    return tied
