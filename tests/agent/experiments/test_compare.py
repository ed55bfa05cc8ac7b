"""Comparing families: the trials, their table, and resuming after an interruption."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.commands import run
from tests.helpers.settings import HELPERS
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset
from worldplan.agent.experiments.compare.grid import (
    FAMILIES,
    QUICK_STEPS,
    Grid,
    Trial,
    choose,
    default_grid,
    lay_out,
)
from worldplan.agent.experiments.compare.table import AVERAGED, Row, collect, pair_up, table
from worldplan.agent.experiments.compare.trial import MEASURES
from worldplan.agent.experiments.pool.local import LocalPool

TOY = "toy_envs:ToyPoint-v0"


compare = partial(run, "compare")


def trials(out: Path, small: Sequence[str], **how: Any) -> list[Trial]:
    tasks = {"toy": {"task": "toy", "env": {"id": TOY}}}
    given = {"families": ["jepa", "jepa without a"], "seeds": 2, "steps": {"toy": 50}, **how}
    return lay_out(Grid(tasks, overrides=small, **given), out)


# Trials


def test_trials_differ_in_nothing_but_what_their_family_sets(
    tmp_path: Path, small: list[str]
) -> None:
    made = trials(tmp_path, small)
    assert [(c.seed, c.family) for c in made] == [
        (seed, family) for seed in range(2) for family in ("jepa", "jepa without a")
    ]
    assert {c.config.steps for c in made} == {50}
    assert {c.config.solved for c in made} == {None}
    with_action, without_action = made[:2]
    one, other = with_action.config.model_dump(), without_action.config.model_dump()
    assert one["agent"]["model"].pop("action")
    assert not other["agent"]["model"].pop("action")
    assert one == other
    assert without_action.run_dir.name == "toy-jepa_without_a-mppi-0"


def test_every_family_and_every_quick_task_is_valid() -> None:
    for task in QUICK_STEPS:
        for settings in FAMILIES.values():
            resolve(load_preset(task), settings)


def test_quick_is_three_tasks_with_and_without_a_two_seeds(tmp_path: Path) -> None:
    made = lay_out(replace(default_grid([], [], quick=True), overrides=["discount=0.9"]), tmp_path)
    assert len(made) == 3 * 2 * 2
    for trial in made:
        assert trial.config.steps == QUICK_STEPS[trial.task]
        assert trial.config.agent.planner.iterations == 2
        assert trial.config.agent.discount == 0.9
    assert {getattr(c.config.agent.model, "action", None) for c in made} == {True, False}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    assert choose("family", "jepa, jepa without a,jepa", FAMILIES) == ["jepa", "jepa without a"]
    with pytest.raises(ValueError, match=r"no family is called 'jeppa'\. Did you mean 'jepa'"):
        choose("family", "jeppa", FAMILIES)
    assert "Did you mean 'mppi'" in compare("reacher", "--planners", "mpi", code=1)
    assert "Did you mean 'reacher'" in compare("reachr", code=1)
    assert "expected tasks" in compare(code=1)


def test_other_settings_do_not_go_into_the_same_folder(tmp_path: Path, small: list[str]) -> None:
    trials(tmp_path, small)
    trials(tmp_path, small)
    with pytest.raises(ValueError, match="made with other settings"):
        trials(tmp_path, small, steps={"toy": 51})


# Resuming


def test_a_tiny_comparison_end_to_end_and_again(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # An empty entry would be the folder one works in.
    paths = [HELPERS, os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    (tmp_path / "queue.py").write_text("1 / 0")  # a name of the standard library's
    monkeypatch.chdir(tmp_path)
    words = ["--env", TOY, "--seeds", "1", "--steps", "45", "--out", str(tmp_path), *small]
    words += ["--jobs", "2", "--families", "jepa,jepa without a"]
    said = compare(*words)
    assert "2 runs" in said
    assert "jepa against jepa without a, mppi, over 1 tasks, exchanging seeds: p = 1.000" in said
    with (tmp_path / "table.csv").open() as file:
        with_action, without_action = csv.DictReader(file)
    assert (with_action["family"], without_action["family"]) == ("jepa", "jepa without a")
    assert float(with_action["action_sensitivity"]) > 0
    assert float(without_action["action_sensitivity"]) == 0
    assert with_action["random"] == without_action["random"]
    assert float(with_action["decision_ms"]) > 0
    assert (tmp_path / "figure.png").stat().st_size > 10_000

    # One trial is done; of the other the last evaluation and all after it are missing.
    done, other = sorted((tmp_path / "runs").iterdir())
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*")}
    saved = {path: path.stat().st_mtime_ns for path in (other / "checkpoints").rglob("*")}
    for name in ("result.json", MEASURES):
        (other / name).unlink()
    table_before = (tmp_path / "table.csv").read_text()
    assert "2 runs" in compare(*words)
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*")} == before
    # Begun anew, it would have saved its start; it went on from its end.
    assert saved.items() <= {p: p.stat().st_mtime_ns for p in other.rglob("*")}.items()
    after = (tmp_path / "table.csv").read_text()
    assert _without_times(after) == _without_times(table_before), "as if nothing had happened"

    # Trained and evaluated, but not measured.
    (other / MEASURES).unlink()
    evaluated = (other / "result.json").stat().st_mtime_ns
    compare(*words)
    assert (other / "result.json").stat().st_mtime_ns == evaluated
    after = (tmp_path / "table.csv").read_text()
    assert _without_times(after) == _without_times(table_before)


def _without_times(text: str) -> list[dict[str, str]]:
    return [
        {k: v for k, v in row.items() if k != "decision_ms"}
        for row in csv.DictReader(text.splitlines())
    ]


def test_a_failed_trial_is_named_and_the_others_are_finished(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)  # so that no trial finds the toy
    made = trials(tmp_path, small, seeds=1)
    for name in ("result.json", MEASURES):  # the first one was done before
        (made[0].run_dir / name).write_text("{}")
    with pytest.raises(
        ValueError,
        match=r"1 of 2 runs failed.*cannot import 'toy_envs'.*\(1 of them, see .*log.txt\)",
    ):
        LocalPool().run([trial.job() for trial in made], at_once=1)


# What they amount to


def row(task: str, uses_action: bool, returns: list[list[float]], chance: float = 0) -> Row:
    return Row(
        *(task, f"jepa {uses_action}", "mppi", "jepa"),
        uses_action=uses_action,
        steps=10,
        returns=returns,
        policy=returns,
        random=[[1, 3]],
        chance=[[chance, chance]],
        measures=dict.fromkeys(AVERAGED, 0.5),
    )


def test_the_table_by_hand() -> None:
    rows = [
        row("a", True, [[7, 8], [9, 10]]),
        row("a", False, [[1, 2], [3, 4]], chance=2.5),
        row("b", True, [[5, 5], [7, 7]]),
        row("b", False, [[1, 1], [1, 1]]),
    ]
    pairs = pair_up(rows)
    (pair,) = pairs
    assert pair.by_task["a"] == pytest.approx(2 / 70)  # 70 ways to choose 4 of 8
    # Seeds: 2 against 2 in both tasks; both labellings of each task that show the whole
    # difference, in the same direction: 2 of 36.
    assert pair.overall == pytest.approx(2 / 36)
    first, second, *_ = table(rows, pairs)
    assert (first["return"], first["seeds"], first["episodes"]) == (8.5, 2, 4)
    assert (first["random"], first["error_1_x"]) == (2, 0.5)
    assert first["p_without_a"] == pytest.approx(2 / 70)
    assert np.isnan(second["p_without_a"])
    assert second["p_chance"] == pytest.approx(1)


def test_what_is_not_done_is_left_out(tmp_path: Path, small: list[str]) -> None:
    made = trials(tmp_path, small)
    assert collect(made) == []
    measures = {"uses_action": True, **{k: [1.0] for k in ("policy", "random", "chance")}}
    for trial, value in ((made[0], 2.0), (made[2], 4.0)):
        (trial.run_dir / "result.json").write_text(json.dumps({"returns": [value]}))
        (trial.run_dir / MEASURES).write_text(json.dumps(measures | dict.fromkeys(AVERAGED, value)))
    (found,) = collect(made)
    assert (found.family, found.returns, found.mean) == ("jepa", [[2.0], [4.0]], 3)
    assert found.measures["information"] == 3
