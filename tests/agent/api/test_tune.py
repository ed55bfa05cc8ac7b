"""`worldplan.tune` is the command from Python."""

from pathlib import Path
from typing import Any

import pytest

import worldplan
from worldplan.agent.api import tune as of_api
from worldplan.agent.experiments.pool.local import LocalPool
from worldplan.agent.experiments.tune.search import Plan

pytest.importorskip("optuna")


def test_settings_are_those_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Plan, Any]] = []
    monkeypatch.setattr(of_api, "carry_out", lambda plan, out, pool, *_: made.append((plan, pool)))
    more: dict[str, Any] = {"learner": {"rho": 0.9}, "eval_max_steps": None, "video": False}
    worldplan.tune(
        "reacher", {"planner.horizon": "2..6"}, trials=3, out=tmp_path, **more, compile="off"
    )
    ((plan, pool),) = made
    assert plan.fixed == ["learner.rho=0.9", "eval_max_steps=null", "video=false", "compile=off"]
    assert [one.name for one in plan.space] == ["planner.horizon"]
    assert plan.trials == 3
    assert isinstance(pool, LocalPool)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'planner\.horizon'"):
        worldplan.tune("reacher", {"planner.horizn": "2..6"}, out=tmp_path)
    with pytest.raises(ValueError, match="expected local, ray or ray://HOST:PORT"):
        worldplan.tune("reacher", {"planner.horizon": "2..6"}, on="x", out=tmp_path)
    assert list(tmp_path.iterdir()) == []
