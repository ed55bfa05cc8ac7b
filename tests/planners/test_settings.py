"""Every setting has an effect. Without the effect its test fails."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.helpers.models.plans import CONFIG, Watched, build, draw, has, run
from worldplan.planners import PLANNERS, Box, PlanState, make_planner

ITERATIVE = ["cem", "icem", "mppi", "gradient"]


@pytest.mark.parametrize("kind", PLANNERS)
def test_sizes_of_the_search(kind: str) -> None:
    iterations = 1 if kind == "random_shooting" else 3
    sizes = {"horizon": 4, "samples": 20, "elites": 5, "iterations": iterations}
    planner, cost = build(kind, **sizes, latent_samples=7, keep=0.0, choose="best"), Watched()
    noise = draw(planner)
    assert noise.actions.shape == (iterations, 1, 20, 4, 2)
    assert noise.latent.shape == (7, 4, 1)
    assert noise.select.shape == (1,)
    run(planner, cost)
    extra = [0] * (iterations - 1) + [kind == "icem"]  # iCEM adds the mean in the last iteration
    assert [x.shape for x in cost.seen] == [(1, 20 + more, 4, 2) for more in extra]


@pytest.mark.parametrize("kind", ["cem", "icem", "mppi"])
def test_the_distribution_is_fitted_to_the_elites(kind: str) -> None:
    neutral = {"momentum": 0.0} if kind != "mppi" else {"temperature": 1e9}
    planner, cost = build(kind, iterations=1, elites=3, keep=0.0, **neutral), Watched()
    plan, state = run(planner, cost)
    actions = cost.seen[0]
    best = actions[0, (actions - 0.3).square().sum((0, 2, 3)).argsort()[:3]]
    torch.testing.assert_close(state.mean[0], best.mean(0))
    torch.testing.assert_close(plan.std[0], best.std(0, correction=0).clamp(min=0.05))


@pytest.mark.parametrize("kind", PLANNERS)
def test_initial_std_is_that_of_the_first_samples(kind: str) -> None:
    for std in (0.1, 0.3):
        cost = Watched()
        run(build(kind, initial_std=std, samples=1000), cost)
        uniform = kind == "random_shooting"  # whose standard deviation is the half width / sqrt(3)
        expected = std / math.sqrt(3.0) if uniform else std
        assert cost.seen[0].std().item() == pytest.approx(expected, rel=0.1)
        assert cost.seen[0].abs().max() <= std or not uniform


@pytest.mark.parametrize("kind", PLANNERS)
def test_min_std_is_the_lower_bound(kind: str) -> None:
    for floor in (0.01, 0.2):
        settings = {} if kind == "random_shooting" else {"iterations": 10}
        plan, _ = run(build(kind, min_std=floor, **settings), Watched())
        assert plan.std.min() >= floor - 1e-6
        if kind != "random_shooting":
            assert plan.std.max() < 2.0 * floor + 0.02


def test_choose() -> None:
    settings = {"iterations": 1, "elites": 4}
    cost, planner = Watched(), build("cem", choose="best", **settings)
    best, _ = run(planner, cost)
    order = (cost.seen[0][0] - 0.3).square().sum((1, 2)).argsort()
    assert torch.equal(best.actions[0], cost.seen[0][0, order[0]])

    mean, state = run(build("cem", choose="mean", **settings), Watched())
    assert torch.equal(mean.actions, state.mean)
    expected = (mean.actions - 0.3).square().sum((1, 2))
    torch.testing.assert_close(mean.cost, expected)

    sample = build("cem", choose="sample", **settings)
    noise = draw(sample)
    for place, select in enumerate((0.1, 0.3, 0.6, 0.999)):
        drawn = replace(noise, select=torch.tensor([select]))
        plan, _ = sample.plan(Watched(), sample.initial_state(1), drawn)
        assert torch.equal(plan.actions[0], cost.seen[0][0, order[place]])
    # At a low temperature MPPI selects the best: it samples by the weights of the fit.
    cold = build("mppi", choose="sample", temperature=1e-3, **settings)
    plan, _ = cold.plan(
        Watched(), cold.initial_state(1), replace(noise, select=torch.tensor([0.99]))
    )
    assert torch.equal(plan.actions, best.actions)


@pytest.mark.parametrize("kind", PLANNERS)
def test_a_search_samples_elites_where_it_is_asked_to_and_can(kind: str) -> None:
    asked = build(kind, choose="best", keep=0.0)
    noise = replace(draw(asked), select=torch.tensor([0.99]))
    best, _ = asked.search(Watched(), asked.initial_state(1), noise)
    drawn, after = asked.search(Watched(), asked.initial_state(1), noise, sample=True)
    if not asked.samples_elites:
        assert kind in ("gradient", "random_shooting")
        assert torch.equal(drawn.actions, best.actions)
        return
    always = build(kind, choose="sample", keep=0.0)
    expected, same = always.search(Watched(), always.initial_state(1), noise)
    assert torch.equal(drawn.actions, expected.actions)
    assert not torch.equal(drawn.actions, best.actions)
    assert torch.equal(after.mean, same.mean)


@pytest.mark.parametrize("kind", ITERATIVE)
def test_warm_start_shifts_the_last_mean(kind: str) -> None:
    start = PlanState(
        mean=torch.tensor([[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]]),
        elites=torch.zeros(1, 0, 3, 2),
        fresh=torch.tensor([False]),
    )
    shifted = torch.tensor([[0.3, 0.4], [0.5, 0.6], [0.0, 0.0]])
    for warm in (True, False):
        planner, cost = build(kind, warm_start=warm, initial_std=1e-6, min_std=1e-9), Watched()
        run(planner, cost, start)
        expected = shifted if warm else torch.zeros(3, 2)
        torch.testing.assert_close(cost.seen[0][0, 0], expected, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("kind", PLANNERS)
def test_reset_affects_only_the_plans_in_the_mask(kind: str) -> None:
    planner = build(kind, keep=0.5)
    first = planner.initial_state(3)
    _, state = run(planner, Watched(), batch=3)
    assert not state.fresh.any()
    assert not torch.equal(state.mean, first.mean)
    again, _ = run(planner, Watched(-0.6), first, batch=3, seed=1)
    warm, _ = run(planner, Watched(-0.6), state, batch=3, seed=1)
    mixed = state.reset(torch.tensor([True, False, False])).reset(
        torch.tensor([False, False, True])
    )
    plan, left = run(planner, Watched(-0.6), mixed, batch=3, seed=1)
    for b, expected in enumerate((again, warm, again)):
        assert torch.equal(plan.actions[b], expected.actions[b])
    assert not left.fresh.any()
    cold, _ = run(build(kind, keep=0.5, warm_start=False), Watched(-0.6), state, batch=3, seed=1)
    assert torch.equal(cold.actions, again.actions)


@pytest.mark.parametrize("kind", ["cem", "icem", "mppi", "random_shooting"])
def test_the_zero_elites_of_a_fresh_plan_are_no_candidates(kind: str) -> None:
    settings = {} if kind == "random_shooting" else {"iterations": 1}
    planner = build(kind, keep=0.5, choose="best", **settings)
    plan, state = run(planner, Watched(0.0))  # zero actions would be the optimum
    blank = planner.initial_state(1).elites
    assert blank.shape == state.elites.shape
    assert not blank.any()
    if kind == "icem":  # whose last iteration adds the mean, which is zero here
        assert has(state.elites, torch.zeros(3, 2))
        assert (state.elites[0].abs().amax((1, 2)) == 0.0).sum() == 1
    else:
        assert not has(state.elites, torch.zeros(3, 2))
        assert plan.actions.any()


@pytest.mark.parametrize("kind", PLANNERS)
def test_kept_elites_join_the_next_plan_shifted(kind: str) -> None:
    keep = build(kind, keep=0.5, elites=8)
    _, state = run(keep, Watched())
    assert state.elites.shape == (1, 4, 3, 2)
    for planner, expected in ((keep, True), (build(kind, keep=0.5, warm_start=False), False)):
        cost = Watched()
        run(planner, cost, state, seed=1)
        for elite in state.elites[0]:
            moved = torch.cat([elite[1:], torch.zeros(1, 2)])
            assert has(cost.seen[0], moved) == expected
    _, state = run(build(kind, keep=0.0), Watched())
    assert state.elites.shape[1] == 0


@pytest.mark.parametrize("kind", ITERATIVE)
def test_kept_elites_are_not_lost_between_iterations(kind: str) -> None:
    # From the second iteration on all new candidates are worse, so only kept elites are good.
    class Worsening(Watched):
        def __call__(self, actions: Tensor, noise: Tensor) -> Tensor:
            return super().__call__(actions, noise) + 100.0 * (len(self.seen) - 1)

    for keep, lost in ((0.1, False), (0.0, True)):
        plan, _ = run(build(kind, keep=keep, choose="best", iterations=3), Worsening())
        assert (plan.cost > 99.0) == lost


@pytest.mark.parametrize("kind", PLANNERS)
def test_proposals_join_every_iteration_and_are_evaluated_once(kind: str) -> None:
    answer = torch.tensor([[0.9, -0.9], [-0.9, 0.9], [0.9, -0.9]])

    class Needle(Watched):
        def __call__(self, actions: Tensor, noise: Tensor) -> Tensor:
            away = (actions - answer).square().sum((2, 3))[..., None]
            return super().__call__(actions, noise) - 100.0 * (away < 1e-6)

    for keep in (0.0, 0.3):  # keeping must not bring the same proposal in twice
        cost, planner = Needle(), build(kind, choose="best", keep=keep)
        proposals = torch.stack([answer, torch.zeros(3, 2)])[None]
        plan, state = run(planner, cost, proposals=proposals)
        assert torch.equal(plan.actions[0], answer)
        assert sum(has(x, answer) for x in cost.seen) == 1
        copies = (state.elites[0] - answer).abs().amax((1, 2)) < 1e-6
        assert copies.sum() == (keep > 0.0)
        assert run(planner, Needle())[0].cost > -1.0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "icm"}, "unknown planner 'icm'. Did you mean 'icem'"),
        (
            {"kind": "cem", "samples": 128, "elites": 200},
            r"elites \(200\) must not exceed samples \(128\)",
        ),
        (
            {"kind": "cem", "initial_std": 1.0, "min_std": 2.0},
            "min_std .* must not exceed",
        ),
        ({"kind": "cem", "horizon": 0}, "horizon"),
        ({"kind": "cem", "samples": 0}, "samples"),
        ({"kind": "cem", "iterations": 0}, "iterations"),
        ({"kind": "cem", "latent_samples": 0}, "latent_samples"),
        ({"kind": "cem", "initial_std": 0.0}, "initial_std"),
        ({"kind": "cem", "min_std": -0.1}, "min_std"),
        ({"kind": "cem", "initial_std": math.nan}, "initial_std"),
        ({"kind": "cem", "keep": 1.5}, "keep"),
        ({"kind": "cem", "momentum": 1.0}, "momentum"),
        ({"kind": "cem", "choose": "bst"}, "choose"),
        ({"kind": "cem", "risk": {"kind": "cvar", "alpha": 2.0}}, "alpha"),
        ({"kind": "cem", "risk": "avarage"}, "Did you mean"),
        ({"kind": "cem", "temperature": 1.0}, "temperature"),
        ({"kind": "mppi", "temperature": 0.0}, "temperature"),
        ({"kind": "icem", "beta": -1.0}, "beta"),
        ({"kind": "icem", "decay": 0.5}, "decay"),
        ({"kind": "gradient", "learning_rate": 0.0}, "learning_rate"),
        ({"kind": "gradient", "choose": "mean"}, "choose"),
        ({"kind": "random_shooting", "iterations": 2}, "iterations"),
    ],
)
def test_wrong_settings_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CONFIG.validate_python(config)


@pytest.mark.parametrize("kind", PLANNERS)
def test_configs_are_frozen_and_survive_serialisation(kind: str) -> None:
    config = CONFIG.validate_python({"kind": kind, "risk": {"kind": "cvar", "alpha": 0.3}})
    assert CONFIG.validate_python(config.model_dump()) == config
    assert type(make_planner(config, Box(2))) is PLANNERS[kind]
    with pytest.raises(ValidationError):
        config.horizon = 5
