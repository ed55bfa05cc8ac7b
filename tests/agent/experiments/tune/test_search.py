"""A search goes on where it was; the same seed suggests the same; hopeless trials are ended."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.atomic import write_json
from worldplan.agent.experiments.pool.jobs import Job
from worldplan.agent.experiments.tune.objective import area, last
from worldplan.agent.experiments.tune.search import Plan, Search, make_plan, searching
from worldplan.agent.experiments.tune.table import best_command, say, tried, write_csv
from worldplan.agent.experiments.tune.trial import OUTCOME, run_trial, trial_dir
from worldplan.agent.training.trainer import Trainer

pytest.importorskip("optuna")
TOY: dict[str, Any] = {"task": "toy", "env": {"id": "toy_envs:ToyPoint-v0"}, "steps": 120}
SPACE = ["planner.horizon=1..4", "learner.learning_rate=1e-4..3e-3:log", "discount=0.8,0.9"]


def plan(*words: str, trials: int = 14, **how: Any) -> Plan:
    return make_plan(TOY, [*SPACE, *words], trials=trials, **how)


def played(search: Search) -> Iterator[Job]:
    """Jobs of a search, each done in no time: the longer the horizon, the better."""
    for job in search.jobs():
        horizon = settings(job)["planner.horizon"]
        write_json(job.log.with_name(OUTCOME), {"state": "complete", "value": horizon})
        search.watch(0, [])
        yield job


def settings(job: Job) -> dict[str, Any]:
    agent = OmegaConf.load(job.log.with_name("config.yaml")).agent
    return {
        "planner.horizon": agent.planner.horizon,
        "discount": agent.discount,
        "learning_rate": agent.learner.learning_rate,
    }


def test_the_same_seed_suggests_the_same_also_after_a_kill(tmp_path: Path) -> None:
    with searching(plan("seed=1"), tmp_path / "whole") as search:
        whole = [settings(job) for job in played(search)]
    assert len(whole) == 14
    assert len({str(one) for one in whole}) > 10
    assert sum(one["planner.horizon"] for one in whole[10:]) > sum(
        one["planner.horizon"] for one in whole[:4]
    ), "it learns from what was tried"

    with searching(plan("seed=2"), tmp_path / "other") as search:
        assert [settings(job) for job in islice(search.jobs(), 1)] != whole[:1]

    cut = tmp_path / "cut"
    with searching(plan("seed=1"), cut) as search:
        found = [settings(job) for job in islice(played(search), 11)]
        (job,) = islice(search.jobs(), 1)  # it is killed while this one runs
    with (cut / "study.journal").open("ab") as file:
        file.write(b'{"op_code": 5')  # and the disk was full
    with searching(plan("seed=1"), cut) as search:
        again = list(played(search))
    assert again[0].name == job.name == "trial 11"
    assert found + [settings(job) for job in again] == whole


def test_another_search_does_not_go_into_the_same_folder(tmp_path: Path) -> None:
    with searching(plan(), tmp_path):
        pass
    with searching(plan(trials=20), tmp_path):
        pass
    for other in (plan("planner.samples=16"), plan(objective="last"), plan(pruner="none")):
        with pytest.raises(ValueError, match="holds another search"), searching(other, tmp_path):
            pass
    (tmp_path / "study.journal").write_text("x\ny\n")
    with pytest.raises(ValueError, match="damaged"), searching(plan(), tmp_path):
        pass


def test_after_a_failure_no_new_trial_begins(tmp_path: Path) -> None:
    with searching(plan(), tmp_path) as search:
        jobs = search.jobs()
        next(jobs), next(jobs)
        search.watch(0, ["trial 1"])  # trial 0 has ended, without an outcome
        assert list(jobs) == []
    with searching(plan(trials=3), tmp_path) as search:
        assert [job.name for job in played(search)] == ["trial 0", "trial 1", "trial 2"]


def test_settings_that_do_not_go_together_are_refused_and_others_tried(tmp_path: Path) -> None:
    search_plan = make_plan(TOY, ["planner.samples=4..64", "planner.elites=2..64"], trials=12)
    with searching(search_plan, tmp_path) as search:
        jobs = []
        for job in search.jobs():
            write_json(job.log.with_name(OUTCOME), {"state": "complete", "value": 1.0})
            jobs.append(job)
        search.tell()
        states = [row.state for row in tried(search.study, tmp_path)]
    assert 0 < len(jobs) < 12
    assert states.count("complete") == len(jobs)
    assert states.count("fail") == 12 - len(jobs)


def test_objectives() -> None:
    assert area([1, 2, 3, 6]) == 3
    assert last([1, 2, 4, 6]) == 4
    assert last([5]) == 5


# Trials


def test_a_trial_is_trained_resumed_and_tabulated(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with searching(plan(*small, trials=2), tmp_path) as search:
        jobs = search.jobs()
        next(jobs)
        run_trial(tmp_path, 0)
        wanted = (trial_dir(tmp_path, 0) / "curve.csv").read_bytes()
        (trial_dir(tmp_path, 0) / "result.json").unlink()
        (trial_dir(tmp_path, 0) / OUTCOME).unlink()
        run_trial(tmp_path, 0)  # it was killed in its final evaluation
        assert (trial_dir(tmp_path, 0) / "curve.csv").read_bytes() == wanted
        search.watch(1, [])
        next(jobs)

        def diverges(self: Trainer) -> None:
            raise FloatingPointError("training diverged")

        monkeypatch.setattr(Trainer, "_evaluate", diverges)
        run_trial(tmp_path, 1)
        assert json.loads((trial_dir(tmp_path, 1) / OUTCOME).read_text()) == {"state": "diverged"}
        search.tell()
        rows = tried(search.study, tmp_path)
    assert [(row.number, row.state) for row in rows] == [(0, "complete"), (1, "pruned")]
    assert list(search.study.trials[0].intermediate_values) == [4, 5, 6, 7, 8, 9, 10]
    lines = say(rows)
    assert "planner.horizon=" in lines[0]
    assert lines[0].split()[:2] == ["0", "complete"]
    words = best_command(plan(*small), rows[0]).split()
    assert words[:4] == ["worldplan", "train", "--env", "toy"]
    best = resolve(TOY, words[4:])
    assert best.agent.planner.horizon == rows[0].values["planner.horizon"]
    write_csv(rows, tmp_path / "table.csv")
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 3


def test_a_hopeless_trial_is_ended_at_its_first_evaluation(
    tmp_path: Path, small: list[str]
) -> None:
    from optuna.trial import create_trial

    with searching(plan(*small), tmp_path) as search:
        for _ in range(5):  # of which the median has so many
            reported = dict.fromkeys(range(1, 11), 1e9)
            search.study.add_trial(create_trial(value=1e9, intermediate_values=reported))
        next(search.jobs())
        run_trial(tmp_path, 5)
        search.tell()
        assert search.study.trials[5].state.name == "PRUNED"
        assert list(search.study.trials[5].intermediate_values) == [4]
    assert not (trial_dir(tmp_path, 5) / "result.json").exists()
