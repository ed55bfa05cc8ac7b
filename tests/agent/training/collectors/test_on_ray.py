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


class Kills(Listener):
    """Calls a function at a step, and hears of deaths."""

    def __init__(self, step: int, kill: Any) -> None:
        self.step, self.kill, self.warnings = step, kill, list[str]()

    def on_step(self, event: StepEvent) -> None:
        if self.kill is not None and event.step >= self.step:
            kill, self.kill = self.kill, None
            kill()

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)


def trained(toy: dict[str, Any], small: list[str], run_dir: Path, kills: Kills) -> Trainer:
    words = [*small, "collectors=4", "steps=600"]
    t = Trainer(resolve(toy, words), run_dir, Console(quiet=True), listeners=[kills])
    t.run()
    assert t.step == t.learner.updates == 600
    return t


def test_a_run_survives_the_death_of_a_node(
    cluster: Any, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    doomed = cluster.add_node(num_cpus=1)

    def kill() -> None:
        until(lambda: len(_collectors()) == 4)
        cluster.remove_node(doomed, allow_graceful=False)

    kills = Kills(100, kill)
    trained(toy, small, tmp_path, kills)
    died = {text for text in kills.warnings if "died" in text}
    assert 1 <= len(died) < 4  # those of one node


def test_no_collector_outlives_the_run(
    cluster: Any, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    found: list[int] = []

    def look() -> None:
        until(lambda: len(_collectors()) == 4)
        found.extend(_collectors())

    trained(toy, small, tmp_path, Kills(100, look))
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
        trained(toy, small, tmp_path, Kills(600, None))


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
