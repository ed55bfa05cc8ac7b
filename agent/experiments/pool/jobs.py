"""Runs commands as processes, some at a time, each with a log: comparisons, suites, searches."""

from __future__ import annotations

import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

_REST = 0.5  # s between looks at the jobs
_MOST_LOST = 10  # times that a job may lose its machine: it may be what makes them fail
_ENDING = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


@dataclass(frozen=True)
class Job:
    """One process, which can be stopped by SIGTERM and run again."""

    name: str
    # A module and its words; asked for when the job starts: it may go on with a run.
    command: Callable[[], Sequence[str]]
    log: Path  # its output is appended there; the folder exists
    done: Callable[[], bool]


class Process(Protocol):
    """A job at work."""

    def state(self) -> Literal["running", "over", "lost"]:
        """Lost is one whose machine failed: it is no fault of the job."""

    def stop(self) -> None:
        """Asks it to save its state and to end."""

    def wait(self) -> None:
        """Returns once it has ended."""


class Pool(ABC):
    """Where jobs run. `open` and `start` make one."""

    @abstractmethod
    def open(self) -> AbstractContextManager[int]:
        """Within it jobs can be started. Gives how many may run at a time, one on each core."""

    @abstractmethod
    def start(self, job: Job) -> Process:
        """Starts a job, with one thread."""

    def run(
        self,
        jobs: Iterable[Job],
        watch: Callable[[int, list[str]], None] = lambda done, running: None,
        at_once: int | None = None,
    ) -> None:
        """Runs the jobs that are not done, `at_once` at a time; default: one on each core.

        A job whose machine failed is run again.

        Args:
            jobs: each is asked for when it may start, so that it may depend on those before it.
            watch: called twice a second with the number of jobs done and the names of those
                running.

        Raises:
            ValueError: jobs failed; the others were finished first.
        """
        waiting = iter(jobs)
        running: list[tuple[Job, Process]] = []
        failed: list[tuple[Job, str]] = []
        lost: Counter[str] = Counter()
        done = 0
        with self.open() as cores, _ended_by_signals():
            try:
                while True:
                    while len(running) < (at_once or cores) and (job := next(waiting, None)):
                        if job.done():
                            done += 1
                        else:
                            running.append((job, self.start(job)))
                    watch(done, [job.name for job, _ in running])
                    if not running:
                        break
                    time.sleep(_REST)
                    before, running = running, []
                    for job, process in before:
                        state = process.state()
                        if state == "running":
                            running.append((job, process))
                        elif job.done():
                            done += 1
                        elif state == "lost" and lost[job.name] < _MOST_LOST:
                            lost[job.name] += 1
                            running.append((job, self.start(job)))
                        else:
                            failed.append((job, _last_line(job.log)))
                    watch(done, [job.name for job, _ in running])
            finally:
                for _, process in running:  # they save their state
                    process.stop()
                for _, process in running:
                    process.wait()
        if failed:
            by_reason: dict[str, list[Job]] = {}
            for job, reason in failed:
                by_reason.setdefault(reason, []).append(job)
            raise ValueError(
                f"{len(failed)} of {done + len(failed)} runs failed; the same command tries them "
                "again. " + "; ".join(
                    f"{reason} ({len(of)} of them, see {of[0].log})"
                    for reason, of in by_reason.items()
                )
            )  # fmt: skip


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """The end of a terminal, or of the machine, is an orderly one."""
    mine = threading.current_thread() is threading.main_thread()  # no other one gets signals
    former = {
        number: signal.signal(number, lambda number, frame: sys.exit(128 + number))
        for number in _ENDING
        if mine and signal.getsignal(number) is not signal.SIG_IGN  # nohup ignores SIGHUP
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it printed nothing"
