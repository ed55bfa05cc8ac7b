"""Jobs on a Ray cluster of two local nodes, of which one is killed."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.helpers.clusters.nodes import cluster_of_one
from tests.helpers.clusters.pools import lives, processes, until, waiting_job
from tests.helpers.settings import SMALL
from worldplan.agent.experiments.compare.grid import Grid, Trial, lay_out
from worldplan.agent.experiments.pool import pool_of
from worldplan.agent.experiments.pool.on_ray import RayPool
from worldplan.agent.training.trainer import Trainer

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.slow


def parent(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid"))


def runs_on(node: Any, trial: Trial) -> bool:
    """Whether a trial's process is the child of a worker of this node."""
    process = int((trial.run_dir / "lock").read_text().split()[1])
    (raylet,) = node.all_processes["raylet"]
    return parent(parent(process)) == int(raylet.process.pid)


def test_runs_survive_the_death_of_a_node(cluster: Any, tmp_path: Path) -> None:
    """The run on it goes on from its checkpoint, bit for bit; the other one is left alone."""
    doomed = cluster.add_node(num_cpus=1)
    tasks = {"toy": {"task": "toy", "env": {"id": "toy_envs:ToyPoint-v0"}}}
    grid = Grid(tasks, ["jepa"], seeds=2, steps={"toy": 300}, overrides=SMALL)
    trials = lay_out(grid, tmp_path / "runs")

    killed: list[Trial] = []

    def kills() -> None:
        until(lambda: all(_saved(trial) for trial in trials), 1200)
        for trial in trials:
            if runs_on(doomed, trial):
                killed.append(trial)
                cluster.remove_node(doomed, allow_graceful=False)
                return

    killer = threading.Thread(target=kills)
    killer.start()
    pool_of("ray").run([trial.job() for trial in trials])
    killer.join()
    assert len(killed) == 1
    assert all(trial.done for trial in trials)
    attempts = [_attempts(trial) for trial in trials]
    assert sorted(attempts) == [1, 2]
    assert attempts[trials.index(killed[0])] == 2

    whole = tmp_path / "undisturbed"
    Trainer(killed[0].config, whole, Console(quiet=True)).run()
    for name in ("curve.csv", "episodes.csv"):
        assert (killed[0].run_dir / name).read_bytes() == (whole / name).read_bytes()


def _saved(trial: Trial) -> bool:
    """Whether it has a checkpoint besides that of its start."""
    return len(list((trial.run_dir / "checkpoints").glob("step_*"))) > 1


def _attempts(trial: Trial) -> int:
    return (trial.run_dir / "log.txt").read_text().count("parameters; replay:")


def test_an_interrupted_pool_stops_its_jobs(cluster: Any, tmp_path: Path) -> None:
    job = waiting_job(tmp_path / "one")

    def interrupts() -> None:
        until(lambda: processes(tmp_path / "one"), 600)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupts).start()
    with pytest.raises(SystemExit):
        RayPool().run([job])
    (process,) = processes(tmp_path / "one")
    assert not lives(process)


def test_a_distant_cluster_is_reached_by_rays_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with cluster_of_one(monkeypatch, client=True):
        address = os.environ["RAY_ADDRESS"]
        job = waiting_job(tmp_path / "one")
        (tmp_path / "one" / "go").touch()
        pool_of(address).run([job])
        assert job.done()


def test_nodes_that_do_not_share_the_folder_are_told(cluster: Any, tmp_path: Path) -> None:
    job = waiting_job(tmp_path / "one")
    (tmp_path / "one").rmdir()
    with pytest.raises(FileNotFoundError):
        RayPool().run([job])


def test_no_cluster_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"expected a Ray cluster at 127\.0\.0\.1:1"):
        RayPool().run([])
