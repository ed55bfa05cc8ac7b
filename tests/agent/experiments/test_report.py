"""Curves over seeds and tasks, against numbers worked out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from tests.helpers.commands import run
from tests.helpers.runs import write_run
from worldplan.agent.config.presets import tasks
from worldplan.agent.experiments.report.curves import find_runs, group, over_tasks, say
from worldplan.agent.experiments.report.published import PUBLISHED, SOURCES
from worldplan.agent.training.curve import Curve


def test_mean_and_band_by_hand(tmp_path: Path) -> None:
    write_run(tmp_path, "t", 0, {10: 0, 20: 100, 30: 200})
    write_run(tmp_path, "t", 1, {10: 100, 30: 500, 40: 1000})
    (g,) = group(find_runs([tmp_path]))
    frames, mean, low, high = g.band()
    # Seed 1 is 300 half-way between its evaluations; beyond 60 frames seed 0 is not known.
    assert frames.tolist() == [20, 40, 60]
    assert mean.tolist() == [50, 200, 350]
    # Of two seeds the bootstrap gives one, the mean or the other, with 1/4, 1/2, 1/4.
    assert low.tolist() == [0, 100, 200]
    assert high.tolist() == [100, 300, 500]


def test_the_policy_is_compared_with_the_planner(tmp_path: Path) -> None:
    run = write_run(tmp_path, "t", 0, {10: 0, 20: 100})
    assert "policy alone 25.0, 25% of the planner's 100.0" in "\n".join(
        say(group(find_runs([run])))
    )
    measures = {"saturated": 0.5, "q_executed": 3, "q_policy": 2, "q_random": 1, "optimism_8": 0.1}
    for step in (10, 20):
        Curve(run / "diagnostics.csv", step).append({"step": step, **measures})
    lines = "\n".join(say(group(find_runs([run]))))
    assert "50% of its actions saturated; value of executed actions 3, of the policy's 2" in lines


def test_a_setting_that_is_younger_than_a_run_is_as_it_was_then(tmp_path: Path) -> None:
    """Runs that differ in nothing else are of one group, as long as none asks for another."""
    young = write_run(tmp_path / "young", "t", 0, {10: 0, 20: 1})
    old = write_run(tmp_path / "old", "t", 1, {10: 0, 20: 1})
    content = OmegaConf.load(old / "config.yaml")
    del content.agent.proposals, content.env.workers, content.agent.noise_min_std
    OmegaConf.save(content, old / "config.yaml")
    labels = {g.label for g in group(find_runs([young, old]))}
    # Exploration had no least noise before there was a setting for it.
    assert labels == {"noise_min_std=0.2", "noise_min_std=0"}
    content.agent.noise_min_std = 0.2
    OmegaConf.save(content, old / "config.yaml")
    assert [g.label for g in group(find_runs([young, old]))] == [""]


def test_a_run_that_stopped_because_it_solved_the_task_stays_solved(tmp_path: Path) -> None:
    write_run(tmp_path, "t", 0, {10: 0, 20: 1000}, solved=True)
    write_run(tmp_path, "t", 1, {10: 0, 20: 0, 30: 500})
    (g,) = group(find_runs([tmp_path]))
    frames, mean, _, _ = g.band()
    assert frames.tolist() == [20, 40, 60]
    assert mean.tolist() == [0, 500, 750]


def test_iqm_over_tasks_by_hand(tmp_path: Path) -> None:
    write_run(tmp_path, "a", 0, {10: 100})
    write_run(tmp_path, "a", 1, {10: 200})
    write_run(tmp_path, "b", 0, {10: 300})
    write_run(tmp_path, "b", 1, {10: 1000})
    write_run(tmp_path, "c", 0, {10: 5000}, env="Hopper-v5")
    found = over_tasks(group(find_runs([tmp_path])))
    assert found is not None
    frames, middle, low, high = found
    assert frames.tolist() == [20]
    assert middle.tolist() == [
        pytest.approx(0.25)
    ]  # of 0.1, 0.2, 0.3, 1.0: the Hopper has no scale
    # Task a gives 0.1 twice at worst, 0.2 twice at best, never b's.
    assert low[0] == pytest.approx(0.2)
    assert high[0] == pytest.approx(0.6)


def test_one_task_or_several_settings_have_no_number_over_tasks(tmp_path: Path) -> None:
    write_run(tmp_path, "a", 0, {10: 100}, width=1)
    assert over_tasks(group(find_runs([tmp_path]))) is None
    write_run(tmp_path, "b", 0, {10: 100}, width=1)
    assert over_tasks(group(find_runs([tmp_path]))) is not None
    write_run(tmp_path, "b", 0, {10: 100}, width=2)
    assert over_tasks(group(find_runs([tmp_path]))) is None


def test_runs_are_grouped_by_what_sets_them_apart(tmp_path: Path) -> None:
    write_run(tmp_path, "t", 0, {10: 1}, width=1, same=3)
    write_run(tmp_path, "t", 1, {10: 2}, width=1, same=3)
    write_run(tmp_path, "t", 0, {10: 3}, width=2, same=3)
    one, two = group(find_runs([tmp_path]))
    assert (one.label, [run.seed for run in one.runs]) == ("width=1", [0, 1])
    assert (two.label, [run.seed for run in two.runs]) == ("width=2", [0])


def test_how_z_is_trained_sets_nothing_apart_where_there_is_no_z(tmp_path: Path) -> None:
    def latent(kind: str, weight: float) -> dict[str, Any]:
        return {"latent": {"kind": kind, "kl_weight": weight}}

    write_run(tmp_path / "0", "t", 0, {10: 1}, model=latent("none", 0.1))
    write_run(tmp_path / "1", "t", 1, {10: 1}, model=latent("none", 0.2))
    assert len(group(find_runs([tmp_path]))) == 1
    write_run(tmp_path / "2", "t", 2, {10: 1}, model=latent("gaussian", 0.2))
    assert [g.label for g in group(find_runs([tmp_path]))] == [
        "model.latent.kind=none",
        "model.latent.free_bits=0.01 model.latent.kind=gaussian model.latent.kl_weight=0.2 "
        "model.latent.prior_share=0.8",
    ]


def test_the_table_says_what_is_there(tmp_path: Path) -> None:
    write_run(tmp_path, "cheetah-run", 0, {5000: 100, 25_000: 512})
    write_run(tmp_path, "cheetah-run", 1, {5000: 200, 10_000: 300}, finished=False)
    said = "\n".join(say(group(find_runs([tmp_path]))))
    assert "cheetah-run, seeds 0, 1" in said
    assert "10k: 150, 20k: 252" in said  # (203 + 300) / 2
    assert "seed 0: final 512.0" in said
    assert "seed 1: not finished, 20k frames so far" in said
    assert "TD-MPC2  50k: 366, 100k: 519" in said


def test_mistakes_are_answered(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run at"):
        find_runs([tmp_path / "none"])
    with pytest.raises(ValueError, match="holds no run with an evaluation"):
        find_runs([tmp_path])
    run = write_run(tmp_path, "t", 0, {10: 1})
    with pytest.raises(ValueError, match="seed 0 of t is there twice"):
        group(find_runs([run, tmp_path]))


def test_the_command_draws(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path, "cheetah-run", seed, {5000: 100, 25_000: 500 + seed})
        write_run(tmp_path, "walker-walk", seed, {5000: 100, 25_000: 900 + seed})
    out = tmp_path / "curves.png"
    assert "IQM over tasks" in run("report", tmp_path, "--out", out)
    assert out.stat().st_size > 10_000


def test_published_returns_are_of_presets_and_have_sources() -> None:
    assert PUBLISHED.keys() <= tasks().keys()
    assert {method for methods in PUBLISHED.values() for method in methods} == SOURCES.keys()
    assert PUBLISHED["cheetah-run"]["SAC"] == {100_000: 178, 200_000: 311, 500_000: 586}
    assert PUBLISHED["hopper"]["MBPO"] == {50_000: 1702, 100_000: 3315}
    values = [v for methods in PUBLISHED.values() for points in methods.values() for v in points]
    assert np.all(np.array(values) > 0)
