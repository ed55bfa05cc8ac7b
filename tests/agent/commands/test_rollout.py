"""`worldplan rollout --explain`."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.commands import run
from tests.helpers.settings import SMALL
from worldplan.agent.acting.rollout import Step, rollout
from worldplan.agent.commands.terminal import subject
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.training.curve import read_curve
from worldplan.envs import make_vector
from worldplan.planners import Plan

# Gusts in the simulator: futures differ, and the plan is for the mean of the worst half.
GUSTS = [
    *("model.kind=simulator", "planner.samples=64", "planner.horizon=10", "planner.risk.alpha=0.5"),
    *("planner.risk.kind=cvar", "planner.latent_samples=8"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "toy"
    run("train", "--env", "toy_envs:ToyPoint-v0", *SMALL, "steps=60", f"run_dir={run_dir}")
    return run_dir


def plans_of(agent: Any, config: Any) -> list[Plan]:
    """Of the first held-out episode."""
    env, seed = make_vector(config.env, 1), held_out_seeds(1)[0]
    events = rollout(agent.actor(explain=True), env, [seed], agent.generator(seed))
    plans = [event.plan for event in events if isinstance(event, Step)]
    return [plan for plan in plans if plan is not None]


def check(rows: list[dict[str, float]], plans: list[Plan]) -> None:
    """A row for each plan, with its figures."""
    assert len(rows) == len(plans)
    for row, plan in zip(rows, plans, strict=True):
        assert plan.items is not None
        assert plan.stats is not None
        T = plan.actions.shape[1]
        score = -plan.items[0].double()
        items = [*(row[f"score_{k}"] for k in range(T)), row["terminal_value"]]
        assert items == pytest.approx(score.mean(0).tolist())
        assert row["predicted_return"] == -float(plan.cost)
        assert sum(items) + row["risk"] == pytest.approx(row["predicted_return"])
        assert row["spread"] == pytest.approx(float(score.sum(1).std(correction=0)), abs=1e-5)
        for k in range(len(plan.stats.best)):
            assert row[f"search_best_{k}"] == -float(plan.stats.best[k])
            assert row[f"search_elite_mean_{k}"] == -float(plan.stats.elite_mean[k])
            assert row[f"search_std_{k}"] == float(plan.stats.std_mean[k])


def test_explain_writes_what_each_plan_predicts(trained: Path, tmp_path: Path) -> None:
    table, data = tmp_path / "plans.csv", tmp_path / "data.npz"
    said = run("rollout", trained, "--episodes", 2, "--explain", table, "--dataset", data)
    rows, played = read_curve(table), np.load(data)
    assert f"{len(rows)} plans explained in {table}" in said
    assert [row["reward"] for row in rows] == played["reward"].tolist()
    assert [row["episode"] for row in rows] == played["episode"].tolist()
    for i in range(2):
        steps = [row["step"] for row in rows if row["episode"] == i]
        assert steps == list(range(len(steps)))
    check([row for row in rows if row["episode"] == 0], plans_of(*subject(str(trained), None)))
    assert all(row["terminal_value"] != 0 for row in rows)
    assert all(row["risk"] == pytest.approx(0, abs=1e-5) for row in rows), "the mean has no risk"


def test_risk_and_spread_are_explained(tmp_path: Path) -> None:
    table = tmp_path / "plans.csv"
    run("rollout", "gusts", *GUSTS, "--explain", table)
    rows = read_curve(table)
    check(rows, plans_of(*subject("gusts", GUSTS)))
    risky = [row for row in rows if row["spread"] > 0.1]
    assert risky
    assert all(row["risk"] < -0.01 for row in risky)
    # A simulator gives true rewards: the first reward is as predicted, without a gust.
    assert rows[0]["score_0"] == pytest.approx(rows[0]["reward"], abs=0.05)


def test_distances_to_a_goal_are_explained(tmp_path: Path) -> None:
    data, table, run_dir = tmp_path / "data.npz", tmp_path / "plans.csv", tmp_path / "fit"
    run("collect", "two-rooms", "--steps", 100, "--out", data)
    small = [word for word in SMALL if not word.startswith("agent.proposals")]
    run("fit", "two-rooms", data, *small, f"run_dir={run_dir}", "--updates", 2)
    run("rollout", run_dir, "--explain", table)
    rows = read_curve(table)
    check(rows, plans_of(*subject(str(run_dir), None)))
    assert all(row["score_0"] < 0 for row in rows)
    assert all(row["terminal_value"] == 0 for row in rows)


def test_explaining_does_not_change_the_actions(trained: Path, tmp_path: Path) -> None:
    run("rollout", trained, "--dataset", tmp_path / "a.npz")
    run("rollout", trained, "--dataset", tmp_path / "b.npz", "--explain", tmp_path / "plans.csv")
    a, b = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    np.testing.assert_array_equal(a["action"], b["action"])


def test_the_help_names_every_column(trained: Path, tmp_path: Path) -> None:
    table = tmp_path / "plans.csv"
    run("rollout", trained, "--explain", table)
    columns = {re.sub(r"\d+", "K", name) for name in read_curve(table)[0]}
    said = run("rollout", "--help")
    assert [name for name in columns if name not in said] == []


def test_an_actor_that_does_not_plan_cannot_be_explained(trained: Path, tmp_path: Path) -> None:
    table = tmp_path / "plans.csv"
    said = run("rollout", trained, "--explain", table, "--actor", "policy", code=1)
    assert "actor policy makes none; expected --actor planner" in said
    assert not table.exists()
