"""Jobs that wait, and what waits for them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.helpers.settings import HELPERS
from worldplan.agent.experiments.pool.jobs import Job

JOBS = str(Path(HELPERS) / "jobs")


def waiting_job(folder: Path) -> Job:
    """A job that waits for the file `go` in its folder, which is made here."""
    folder.mkdir()
    done = (folder / "done").exists
    return Job(folder.name, lambda: ["waiting_job", str(folder)], folder / "log", done)


def processes(folder: Path) -> list[int]:
    """The processes that were started for such a job."""
    file = folder / "started"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def lives(process: int) -> bool:
    """Whether a process works: it is neither gone nor waiting to be asked how it ended."""
    stat = Path(f"/proc/{process}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(true: Callable[[], object], seconds: float = 120) -> None:
    """Waits until it is true, for as long at most."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def search_path() -> str:
    """PYTHONPATH for processes that import these jobs and the toy environments."""
    paths = [HELPERS, JOBS, os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, paths))  # an empty entry would be the folder one works in
