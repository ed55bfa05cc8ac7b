"""Runs commands as processes, some at a time, each with a log: comparisons and benchmark suites."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One process, which can be stopped by SIGTERM and run again."""

    name: str
    command: Callable[[], Sequence[str]]  # asked when the job starts: it may go on with a run
    log: Path  # its output is appended there; the folder exists
    done: Callable[[], bool]


def run_jobs(jobs: Sequence[Job], at_once: int, watch: Callable[[int, list[str]], None]) -> None:
    """Runs the jobs that are not done, `at_once` at a time, one thread each.

    Args:
        watch: called twice a second with the number of jobs done and the names of those running.

    Raises:
        ValueError: jobs failed; the others were finished first.
    """
    waiting = [job for job in jobs if not job.done()]
    running: list[tuple[Job, subprocess.Popen[bytes]]] = []
    failed: list[Job] = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running.append((job, _start(job)))
            time.sleep(0.5)
            over = [(job, process) for job, process in running if process.poll() is not None]
            failed += [job for job, _ in over if not job.done()]
            running = [pair for pair in running if pair not in over]
            watch(sum(job.done() for job in jobs), [job.name for job, _ in running])
    finally:
        signal.signal(signal.SIGTERM, former)
        for _, process in running:  # they save their state
            process.terminate()
        for _, process in running:
            process.wait()
    if failed:
        by_reason: dict[str, list[Job]] = {}
        for job in failed:
            by_reason.setdefault(_last_line(job.log), []).append(job)
        raise ValueError(
            f"{len(failed)} of {len(jobs)} runs failed; the same command tries them again. "
            + "; ".join(
                f"{reason} ({len(of)} of them, see {of[0].log})" for reason, of in by_reason.items()
            )
        )


def _start(job: Job) -> subprocess.Popen[bytes]:
    with job.log.open("ab") as log:
        return subprocess.Popen(
            job.command(), stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
