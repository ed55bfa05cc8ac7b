"""Collectors on a Ray cluster of two local nodes, of which one is killed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.helpers.clusters.nodes import cluster_of_one
from tests.helpers.clusters.pools import lives, until
from tests.helpers.commands import run
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.events import Listener, StepEvent
from worldplan.agent.training.trainer import Trainer

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.slow


class Calls(Listener):
    """Calls a function at a step."""

    def __init__(self, step: int, function: Any) -> None:
        self.step, self.function = step, function

    def on_step(self, event: StepEvent) -> None:
        if event.step == self.step:
            self.function()


class GoesOn(Calls):
    """Ends the run 200 steps after it has heard of a collector's death."""

    def __init__(self, step: int, function: Any) -> None:
        super().__init__(step, function)
        self.heard: list[int] = []  # at which steps

    def on_step(self, event: StepEvent) -> bool:  # type: ignore[override]
        super().on_step(event)
        self.now = event.step
        return not self.heard or event.step < self.heard[-1] + 200

    def on_warning(self, text: str) -> None:
        if "died" in text:
            self.heard.append(self.now)


def trained(
    toy: dict[str, Any],
    small: list[str],
    run_dir: Path,
    listener: Listener,
    steps: int = 600,
    collectors: int = 4,
) -> Trainer:
    words = [*small, f"collectors={collectors}", f"steps={steps}"]
    t = Trainer(resolve(toy, words), run_dir, Console(quiet=True), listeners=[listener])
    t.run()
    assert t.step == t.learner.updates
    return t


def test_a_run_survives_the_death_of_a_node(
    cluster: Any, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    doomed = cluster.add_node(num_cpus=1)

    def kill() -> None:
        until(lambda: len(_collectors()) == 6)
        cluster.remove_node(doomed, allow_graceful=False)

    survives = GoesOn(100, kill)
    # Six, so that there are some on each node; deaths are noticed after a while.
    t = trained(toy, small, tmp_path, survives, steps=1_000_000, collectors=6)
    assert t.step == survives.heard[-1] + 200
    assert len(survives.heard) < 6  # those of one node


def test_no_collector_outlives_the_run(
    cluster: Any, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    found: list[int] = []

    def look() -> None:
        until(lambda: len(_collectors()) == 4)
        found.extend(_collectors())

    trained(toy, small, tmp_path, Calls(100, look))
    until(lambda: not any(lives(process) for process in found))


def test_a_killed_run_leaves_no_collector_and_goes_on(
    cluster: Any, small: list[str], tmp_path: Path
) -> None:
    words = ["--env", "toy_envs:ToyPoint-v0", *small, "collectors=4", "steps=600"]
    go = "from worldplan.agent.commands.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", go, "train", *words, f"run_dir={tmp_path / 'run'}"]
    )
    saved = (tmp_path / "run" / "checkpoints").glob
    until(lambda: len(list(saved("step_*"))) > 1 and len(_collectors()) == 4)
    assert process.poll() is None
    found = _collectors()
    process.kill()
    process.wait()
    until(lambda: not any(lives(each) for each in found))
    run("train", "--resume", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["step"] == 600


def test_a_distant_cluster_is_reached_by_rays_client(
    monkeypatch: pytest.MonkeyPatch, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    with cluster_of_one(monkeypatch, client=True):
        assert trained(toy, small, tmp_path, Listener()).step == 600


def _collectors() -> list[int]:
    """Processes of Ray that are collectors: Ray gives them a title."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                title = (place / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            if title.startswith(b"ray::Collector"):
                found.append(int(place.name))
    return found
