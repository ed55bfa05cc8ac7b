"""Jobs on the nodes of a Ray cluster, which share the folder of the runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from worldplan.agent.experiments.pool.jobs import Job, Pool
from worldplan.agent.experiments.pool.local import started
from worldplan.agent.training.collectors.cluster import connected, require

_SAVING = 60.0  # s that a job which is stopped may take to save its state


class RayPool(Pool):
    """Each job is a task with one core, and its process a child of a worker of Ray.

    Args:
        address: of a cluster, `ray://HOST:PORT`. None: that of RAY_ADDRESS, else a new one here.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    @contextmanager
    def open(self) -> Iterator[int]:
        """Raises ValueError if Ray is not installed, ConnectionError if no cluster answers."""
        self.ray = require("--on ray")
        with connected(self.ray, self.address):
            yield max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def start(self, job: Job) -> RayProcess:
        # Whether a job is run again is the pool's matter, for it goes on with a run then.
        task = self.ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")(_work)
        paths = {k: v for k, v in os.environ.items() if k == "PYTHONPATH"}
        words = list(job.command())
        return RayProcess(self.ray, task.remote(words, job.log.absolute(), Path.cwd(), paths), job)


class RayProcess:
    """A job that runs on a node, or waits for one."""

    def __init__(self, ray: Any, task: Any, job: Job) -> None:
        self.ray, self.task, self.job = ray, task, job

    def state(self) -> Literal["running", "over", "lost"]:
        from ray.exceptions import RayError, RayTaskError

        finished, _ = self.ray.wait([self.task], timeout=0)
        if not finished:
            return "running"
        try:
            self.ray.get(self.task)
        except RayTaskError as error:  # it could not be started there
            with self.job.log.open("a", encoding="utf-8") as log:
                log.write(f"{error.cause or error}\n")
        except RayError:  # its worker or its node is gone
            return "lost"
        return "over"

    def stop(self) -> None:
        self.ray.cancel(self.task)

    def wait(self) -> None:
        self.ray.wait([self.task], timeout=_SAVING)


def _work(words: Sequence[str], log: Path, folder: Path, env: Mapping[str, str]) -> int:
    """On a node: carries out a job; returns the exit status of its process."""
    if not log.parent.is_dir():
        raise FileNotFoundError(
            f"expected the folder {log.parent} on {os.uname().nodename}: the nodes of a cluster "
            "must share the folder of the runs"
        )
    process = started(words, log, folder if folder.is_dir() else None, env)
    try:
        while (status := process.poll()) is None:
            time.sleep(0.2)  # a cancelled task gets KeyboardInterrupt, between calls
        return status
    finally:
        if process.poll() is None:
            process.terminate()  # it saves its state
            process.wait()
