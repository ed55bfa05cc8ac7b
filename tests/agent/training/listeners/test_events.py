"""Events of a run and their listeners."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.events import (
    CheckpointEvent,
    EpisodeEvent,
    EvaluationEvent,
    Listener,
    Run,
    StepEvent,
    UpdateEvent,
)
from worldplan.agent.training.trainer import Trainer


class Counting(Listener):
    """Counts its events."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def on_start(self, run: Run) -> None:
        super().on_start(run)
        self.counts["start"] += 1

    def on_step(self, event: StepEvent) -> None:
        self.counts["step"] += 1
        assert event.step == self.run.step == self.counts["step"]

    def on_episode(self, event: EpisodeEvent) -> None:
        self.counts["decisions"] += event.length

    def on_update(self, event: UpdateEvent) -> None:
        self.counts["update"] += 1
        assert event.groups["loss"]["consistency"] >= 0
        assert event.groups["model"]["effective_rank"] >= 1

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self.counts["evaluation"] += 1
        assert event.policy is not None
        assert len(event.planner.returns) == len(event.policy.returns) == 2

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        self.counts["checkpoint"] += 1
        assert (event.path / "state.json").exists()

    def on_end(self) -> None:
        self.counts["end"] += 1


def test_a_listener_gets_every_event(toy: dict[str, Any], small: list[str], tmp_path: Path) -> None:
    listener = Counting()
    settings = [*small, "steps=80", "eval_interval=20", "log_interval=10"]
    Trainer(resolve(toy, settings), tmp_path, Console(quiet=True), listeners=[listener]).run()
    counts = listener.counts
    assert (counts["start"], counts["end"], counts["step"]) == (1, 1, 80)
    assert counts["evaluation"] == 2  # at 60 and 80: at 40 the random start had just ended
    assert counts["update"] == 5
    assert 0 < counts["decisions"] <= 80
    assert counts["checkpoint"] >= 2


def test_a_listener_may_end_the_run(toy: dict[str, Any], small: list[str], tmp_path: Path) -> None:
    class Enough(Listener):
        def on_evaluation(self, event: EvaluationEvent) -> None:
            self.run.stop = "enough"

    settings = [*small, "steps=80", "eval_interval=20"]
    trainer = Trainer(resolve(toy, settings), tmp_path, Console(quiet=True), listeners=[Enough()])
    trainer.run()
    assert trainer.step == 60
    assert (tmp_path / "result.json").exists()


def test_an_exception_of_a_listener_ends_the_run(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    class Broken(Counting):
        def on_step(self, event: StepEvent) -> None:
            raise RuntimeError("broken listener")

    listener = Broken()
    trainer = Trainer(resolve(toy, small), tmp_path, Console(quiet=True), listeners=[listener])
    with pytest.raises(RuntimeError, match="broken listener"):
        trainer.run()
    assert listener.counts["end"] == 1
