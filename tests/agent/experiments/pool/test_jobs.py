"""A pool's loop; its processes on this machine; the pools by name."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.helpers.clusters.pools import lives, processes, search_path, until, waiting_job
from worldplan.agent.experiments.pool import pool_of
from worldplan.agent.experiments.pool.jobs import Job, Pool
from worldplan.agent.experiments.pool.local import LocalPool
from worldplan.agent.experiments.pool.on_ray import RayPool

State = Literal["running", "over", "lost"]


class Scripted(Pool):
    """Jobs end as it is written: the states of each, for one start after the other."""

    def __init__(self, **script: list[State]) -> None:
        self.script, self.began = script, list[str]()

    @contextmanager
    def open(self) -> Iterator[int]:
        yield 2

    def start(self, job: Job) -> "Ended":
        self.began.append(job.name)
        return Ended(self.script[job.name].pop(0), job)


class Ended:
    """A job that has ended, or does not."""

    def __init__(self, state: State, job: Job) -> None:
        self.how = state
        if state == "over":
            job.log.with_name(f"{job.name}.done").touch()

    def state(self) -> State:
        return self.how

    def stop(self) -> None: ...

    def wait(self) -> None: ...


def job(folder: Path, name: str) -> Job:
    return Job(name, lambda: [], folder / f"{name}.log", (folder / f"{name}.done").exists)


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldplan.agent.experiments.pool.jobs._REST", 0.01)


def test_a_job_that_lost_its_machine_is_run_again(tmp_path: Path) -> None:
    pool = Scripted(a=["lost", "lost", "over"], b=["over"])
    pool.run([job(tmp_path, "a"), job(tmp_path, "b")])
    assert pool.began == ["a", "b", "a", "a"]


def test_a_job_that_always_loses_its_machine_fails(tmp_path: Path) -> None:
    pool = Scripted(a=["lost"] * 20, b=["over"])
    with pytest.raises(ValueError, match="1 of 2 runs failed"):
        pool.run([job(tmp_path, "a"), job(tmp_path, "b")])
    assert pool.began.count("a") == 11


def test_a_job_is_asked_for_when_it_may_start(tmp_path: Path) -> None:
    asked: list[tuple[str, list[str]]] = []
    pool = Scripted(a=["over"], b=["over"], c=["over"])
    (tmp_path / "x.done").touch()  # was done before

    def jobs() -> Iterator[Job]:
        for name in "axbc":
            asked.append((name, [path.stem for path in sorted(tmp_path.glob("?.done"))]))
            yield job(tmp_path, name)

    seen: list[tuple[int, list[str]]] = []
    pool.run(jobs(), lambda done, running: seen.append((done, running)), at_once=1)
    assert asked == [("a", ["x"]), ("x", ["a", "x"]), ("b", ["a", "x"]), ("c", ["a", "b", "x"])]
    assert pool.began == ["a", "b", "c"]
    assert seen[0] == (0, ["a"])
    assert seen[-1] == (4, [])


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_no_job_outlives_its_pool(tmp_path: Path, number: int) -> None:
    env = {**os.environ, "PYTHONPATH": search_path()}
    parent = subprocess.Popen([sys.executable, "-P", "-m", "parent", str(tmp_path)], env=env)
    until(lambda: processes(tmp_path))
    (child,) = processes(tmp_path)
    assert lives(child)
    parent.send_signal(number)
    parent.wait()
    until(lambda: not lives(child), 30)
    assert not (tmp_path / "done").exists()


def test_a_job_has_one_thread_and_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", search_path())
    one = waiting_job(tmp_path / "one")
    (tmp_path / "one/go").touch()
    LocalPool().run([one, Job("wrong", lambda: ["no_module"], tmp_path / "log", one.done)])
    assert one.done()
    assert one.log.read_text() == ""


def test_pools_by_name() -> None:
    assert isinstance(pool_of("local"), LocalPool)
    for on, address in (("ray", None), ("ray://head:10001", "ray://head:10001")):
        pool = pool_of(on)
        assert isinstance(pool, RayPool)
        assert pool.address == address
    with pytest.raises(ValueError, match="expected local, ray or ray://HOST:PORT as --on, got 'x'"):
        pool_of("x")
