"""The agent of the best evaluation is kept."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import worldplan
from tests.helpers.commands import run
from tests.helpers.cut import run_until_power_cut
from tests.helpers.settings import SMALL
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.events import EvaluationEvent, Listener
from worldplan.agent.training.held_out import HeldOut
from worldplan.agent.training.trainer import Trainer

# Of the evaluations from step 60 on, every 20.
RETURNS = {60: -4.0, 80: -1.0, 100: -1.0, 120: -2.0}


class Weights(Listener):
    """The agent's, at each evaluation."""

    def __init__(self) -> None:
        self.at: dict[int, dict[str, torch.Tensor]] = {}

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self.at[event.step] = {k: v.clone() for k, v in self.run.agent.weights().items()}


@pytest.fixture
def trainer(toy: dict[str, Any], small: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes runs whose evaluations return `RETURNS`."""
    measure = HeldOut.evaluate

    def told(self: HeldOut, step: int, heads: Any) -> EvaluationEvent:
        event = measure(self, step, heads)
        returns = np.array([RETURNS[step] - 0.5, RETURNS[step] + 0.5])
        return replace(event, planner=replace(event.planner, returns=returns))

    monkeypatch.setattr(HeldOut, "evaluate", told)
    # An episode ends every tenth step, so that checkpoints are where they are asked for.
    every = ["eval_interval=20", "train_max_steps=10", "checkpoint_interval=30"]
    config = resolve(toy, [*small, *every, "agent.greedy_episodes=0.5"])
    return lambda folder, **how: Trainer(config, folder, Console(quiet=True), **how)


def test_the_best_agent_is_kept_and_of_equals_the_last(trainer: Any, tmp_path: Path) -> None:
    seen = Weights()
    trainer(tmp_path, listeners=[seen]).run()
    assert list(seen.at) == list(RETURNS)
    kept = worldplan.load(tmp_path / "best").weights()
    assert all(torch.equal(kept[name], seen.at[100][name]) for name in kept)
    assert any(not torch.equal(kept[name], seen.at[120][name]) for name in kept)


def test_a_resumed_run_keeps_the_same(trainer: Any, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    trainer(whole).run()
    for name, after in (("before", 60), ("killed", 60), ("behind", 100)):  # the best is at 100
        cut = tmp_path / name
        run_until_power_cut(trainer(cut), after)  # at 90, or at 120
        if name == "killed":  # at 110: what it wrote after its checkpoint is there
            shutil.copytree(whole / "best", cut / "best", dirs_exist_ok=True)
            shutil.copy(whole / "curve.csv", cut)
        trainer(cut, resume=True).run()
        assert _same(whole, cut)


def _same(first: Path, second: Path) -> bool:
    one, other = (worldplan.load(run / "best").weights() for run in (first, second))
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_says_where_its_best_agent_is(tmp_path: Path) -> None:
    words = "train", "--env", "toy_envs:ToyPoint-v0", *SMALL
    evaluated = run(*words, "steps=80", "eval_interval=20", f"run_dir={tmp_path / 'long'}")
    assert f"best agent      {tmp_path / 'long' / 'best'}" in evaluated.replace("\n", "")
    short = run(*words, "steps=60", "eval_interval=100", f"run_dir={tmp_path / 'short'}")
    assert "checkpoint" in short
    assert "best agent" not in short  # nor a learning curve: it was evaluated at its end alone
    assert "learning curve" not in short
