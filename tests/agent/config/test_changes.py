"""Settings that are given anew for a run that is there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import worldplan
from tests.helpers.commands import run
from worldplan.agent.config.changes import ACTING, acting, lengthened
from worldplan.agent.config.overrides import resolve, setting
from worldplan.agent.config.presets import load_preset
from worldplan.agent.training.trainer import Trainer

HOPPER = resolve(load_preset("hopper"), ["steps=1000"])


def test_more_steps_leave_all_else_as_it_is() -> None:
    longer = lengthened(HOPPER, ["steps=3000"])
    assert longer == HOPPER.model_copy(update={"steps": 3000})
    assert longer.eval_interval == 100  # it followed from the steps
    assert lengthened(HOPPER, settings={"steps": 3000}) == longer
    assert lengthened(HOPPER) == lengthened(HOPPER, ["steps=1000"]) == HOPPER


def test_an_agent_acts_with_another_search() -> None:
    config = acting(HOPPER, ["planner.samples=99", "shortfall=0.5"], {"planner": {"horizon": 2}})
    planner = config.agent.planner
    assert (planner.samples, planner.horizon, config.agent.shortfall) == (99, 2, 0.5)
    assert config.agent.model == HOPPER.agent.model
    other = acting(HOPPER, ["planner=cem", "planner.samples=99"]).agent.planner
    assert (other.kind, other.samples) == ("cem", 99)
    assert acting(HOPPER) == HOPPER
    for name in ACTING:  # a setting of that name, or a group
        assert setting(HOPPER, name) is not None


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (lengthened, ["steps=999"], "at least the run's 1,000 steps, got 999"),
        (
            lengthened,
            ["steps=2000", "seed=1"],
            r"a run that goes on .* but steps, got seed",
        ),
        (lengthened, ["stepps=2000"], "Did you mean 'steps'"),
        (acting, ["planner.horizn=2"], r"Did you mean .*planner\.horizon"),
        (acting, ["planner.horizon=0"], "planner.horizon"),
        (
            acting,
            ["discount=0.9"],
            r"an agent .*, got agent.discount; to train",
        ),
        (acting, ["model.width=8", "seed=1"], "got agent.model.width, seed"),
    ],
)
def test_other_settings_are_refused(change: Any, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(HOPPER, words)


def test_a_loaded_agent_acts_as_one_that_was_made_so(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    """Also by the commands: the same weights, plans of another search."""
    settings = [*small, "steps=60", "final_episodes=2"]
    Trainer(resolve(toy, settings), tmp_path, Console(quiet=True)).run()
    x = np.array([0.3, -0.1], np.float32)
    asked: dict[str, Any] = {"planner": {"samples": 99, "iterations": 1}, "proposals": 0}
    actions = []
    for agent in (worldplan.load(tmp_path), worldplan.load(tmp_path, **asked)):
        agent.reset(seed=0)
        actions.append(agent.act(x))
    assert not np.array_equal(*actions)
    assert agent.config.planner.samples == 99
    agent.save(tmp_path / "again")  # as it acts now
    again = worldplan.load(tmp_path / "again")
    again.reset(seed=0)
    np.testing.assert_array_equal(again.act(x), actions[1])
    for name, value in worldplan.load(tmp_path).weights().items():
        assert torch.equal(value, again.weights()[name])
    with pytest.raises(ValueError, match=r"Did you mean .*samples"):
        worldplan.load(tmp_path, planner={"sampels": 3})

    out = tmp_path / "e.json"
    evaluate = ["evaluate", str(tmp_path), "--episodes", "2", "--out", str(out)]
    run(*evaluate, "planner.samples=99")
    assert '"planner.samples=99"' in out.read_text()
    said = run(*evaluate, "seed=3", code=1)
    assert "an agent that has learned has its own settings" in said
