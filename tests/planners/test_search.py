"""The search: known optima, latent noise, batches, bounds and costs that are not finite."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.models.plans import build, draw
from worldplan.planners import (
    PLANNERS,
    ItemisedCost,
    Plan,
    Planner,
    PlanState,
    TrajectoryCost,
)

KINDS = list(PLANNERS)


def solve(planner: Planner[Any], cost: TrajectoryCost, batch: int = 1, seed: int = 0) -> Plan:
    noise = draw(planner, batch, seed=seed)
    return planner.plan(cost, planner.initial_state(batch), noise)[0]


def bowl(actions: Tensor, noise: Tensor) -> Tensor:
    """Lowest at 0.3, plus a cost that depends on the latent noise only."""
    return (actions - 0.3).square().sum((2, 3))[..., None] + 0.1 * noise[:, 0].abs().sum(1)


class DoubleIntegrator:
    """x = (position, velocity) pushed by a, with quadratic costs: its optimum is known."""

    a = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    b = torch.tensor([[0.0], [0.5]])
    q = torch.diag(torch.tensor([1.0, 0.1]))
    r = torch.tensor([[0.5]])
    x = torch.tensor([0.5, -0.2])

    def __call__(self, actions: Tensor, noise: Tensor) -> Tensor:
        x = self.x.expand(*actions.shape[:2], 2)
        total = torch.zeros(actions.shape[:2])
        for t in range(actions.shape[2]):
            a = actions[:, :, t]
            total = total + ((x @ self.q) * x).sum(-1) + ((a @ self.r) * a).sum(-1)
            x = x @ self.a.T + a @ self.b.T
        total = total + ((x @ self.q) * x).sum(-1)
        return total[..., None].expand(-1, -1, len(noise))

    def optimum(self, horizon: int) -> tuple[float, float]:
        """First action and cost by the Riccati recursion."""
        p = self.q
        for _ in range(horizon):
            gain = torch.linalg.solve(self.r + self.b.T @ p @ self.b, self.b.T @ p @ self.a)
            p = self.q + self.a.T @ p @ (self.a - self.b @ gain)
        return (-gain @ self.x).item(), (self.x @ p @ self.x).item()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("cem", {"iterations": 12, "samples": 512, "elites": 64}),
        ("icem", {"iterations": 12, "samples": 512, "elites": 64}),
        ("mppi", {"iterations": 12, "samples": 512, "elites": 64, "temperature": 0.1}),
        ("gradient", {"iterations": 60}),
    ],
)
def test_finds_the_riccati_solution(kind: str, settings: dict[str, Any], seed: int) -> None:
    task = DoubleIntegrator()
    planner = build(kind, 1, horizon=5, min_std=1e-4, **settings)
    plan = solve(planner, task, seed=seed)
    action, cost = task.optimum(5)
    assert abs(action) < 0.95  # the bounds are not what decides
    assert plan.action.item() == pytest.approx(action, rel=0.02)
    assert plan.cost.item() == pytest.approx(cost, rel=1e-3)


def test_random_shooting_improves_with_samples() -> None:
    task = DoubleIntegrator()
    few, many = (
        solve(build("random_shooting", 1, samples=n, elites=8, horizon=5), task, 16).cost.mean()
        for n in (8, 2048)
    )
    assert task.optimum(5)[1] < many < few - 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_plan(kind: str) -> None:
    planner = build(kind, **({} if kind == "random_shooting" else {"iterations": 2, "keep": 0.0}))
    one, same, other = (solve(planner, bowl, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.actions, same.actions)
    assert not torch.equal(one.actions, other.actions)


@pytest.mark.parametrize(
    ("kind", "choose"),
    [(kind, "best") for kind in KINDS]
    + [(kind, choose) for kind in ("cem", "icem", "mppi") for choose in ("mean", "sample")],
)
def test_a_batch_equals_single_plans(kind: str, choose: str) -> None:
    planner = build(kind, choose=choose, latent_samples=3, risk="worst")
    batch, goals = 3, torch.tensor([-0.5, 0.0, 0.7]).view(3, 1, 1, 1)
    proposals = torch.rand(batch, 5, 3, 2, generator=torch.Generator().manual_seed(9)) - 0.5
    # The second step has one plan that was reset.
    reset = torch.tensor([False, True, False])

    def run(rows: slice) -> tuple[Tensor, PlanState]:
        def cost(actions: Tensor, noise: Tensor) -> Tensor:
            away = (actions - goals[rows]).square().sum((2, 3))
            return away[..., None] + noise.sum((1, 2)) * actions[:, :, 0, :1]

        state = planner.initial_state(len(goals[rows]))
        for seed in range(2):
            noise = draw(planner, batch, seed=seed)
            noise = replace(noise, actions=noise.actions[:, rows], select=noise.select[rows])
            plan, state = planner.plan(cost, state, noise, proposals[rows])
            state = state.reset(reset[rows])
        return plan.actions, state

    together, state = run(slice(None))
    for b in range(batch):
        alone, single = run(slice(b, b + 1))
        torch.testing.assert_close(alone, together[b : b + 1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(single.mean, state.mean[b : b + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_costs_that_are_not_finite_are_ignored(kind: str, bad: float) -> None:
    # Only a small region has finite costs: fewer good candidates than elites.
    def cost(actions: Tensor, noise: Tensor) -> Tensor:
        good = bowl(actions, noise)
        return torch.where(actions[:, :, 0, :1] > 0.8, good, torch.full_like(good, bad))

    planner = build(kind)
    plan, state = planner.plan(cost, planner.initial_state(4), draw(planner, 4))
    assert plan.cost.isfinite().all()
    assert (plan.action[:, 0] > 0.8).all()
    assert state.mean.isfinite().all()
    assert plan.std.isfinite().all()


@pytest.mark.parametrize("kind", ["cem", "icem", "mppi"])
def test_elites_that_failed_have_no_weight(kind: str) -> None:
    def cost(actions: Tensor, noise: Tensor) -> Tensor:
        first = actions[:, :, 0, :1]
        return torch.where(first > 0.8, 0.0, math.nan)

    planner = build(kind, samples=40, elites=30, iterations=1, keep=0.0)
    noise = draw(planner)
    _, state = planner.plan(cost, planner.initial_state(1), noise)
    good = noise.actions[0, 0].clamp(-1.0, 1.0)
    good = good[good[:, 0, 0] > 0.8]
    assert 1 < len(good) < 30
    share = 0.9 if kind == "icem" else 1.0  # the rest is momentum
    torch.testing.assert_close(state.mean[0], share * good.mean(0))


@pytest.mark.parametrize("kind", KINDS)
def test_raises_if_no_cost_of_a_plan_is_finite(kind: str) -> None:
    def cost(actions: Tensor, noise: Tensor) -> Tensor:
        costs = bowl(actions, noise)
        return costs + torch.tensor([0.0, math.nan, 0.0]).view(3, 1, 1)

    with pytest.raises(FloatingPointError, match="no candidate has a finite cost in 1 of 3 plans"):
        solve(build(kind), cost, batch=3)


def test_the_best_elite_replaces_a_mean_that_fails() -> None:
    def cost(actions: Tensor, noise: Tensor) -> Tensor:  # finite on both sides of a wall
        first = actions[:, :, 0]
        return torch.where(first.abs() < 0.5, math.inf, first.abs())

    planner = build("cem", 1, choose="mean", iterations=1, elites=100, samples=256)
    plan = solve(planner, cost)
    assert plan.cost.isfinite()
    assert plan.action.abs() >= 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_actions_never_leave_the_bounds(kind: str) -> None:
    seen = []

    def cost(actions: Tensor, noise: Tensor) -> Tensor:
        seen.append(actions.detach().abs().max())
        return -actions.sum((2, 3))[..., None]  # lower without limit towards large actions

    planner = build(kind, initial_std=50.0)
    proposals = torch.full((1, 4, 3, 2), 7.0)
    state = planner.initial_state(1)
    for seed in range(2):
        plan, state = planner.plan(cost, state, draw(planner, seed=seed), proposals)
        seen.append(plan.actions.abs().max())
        # The cost of the plan is the cost of the clipped sequence.
        assert plan.cost.item() == pytest.approx(-plan.actions.sum().item(), abs=1e-4)
    assert max(seen) == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_explain_adds_the_statistics_of_the_search(kind: str) -> None:
    planner = build(kind, latent_samples=5)
    noise, state = draw(planner, 2), planner.initial_state(2)
    quiet, _ = planner.plan(bowl, state, noise)
    plan, _ = planner.plan(bowl, state, noise, explain=True)
    assert quiet.stats is None
    assert torch.equal(quiet.actions, plan.actions)
    futures = bowl(plan.actions[:, None], noise.latent)[:, 0]
    torch.testing.assert_close(plan.cost, futures.mean(1))
    torch.testing.assert_close(plan.spread, futures.std(1, correction=0))
    stats, shape = plan.stats, (planner.config.iterations, 2)
    assert stats is not None
    assert stats.best.shape == stats.elite_mean.shape == stats.std_mean.shape == shape
    assert (stats.best <= stats.elite_mean).all()
    torch.testing.assert_close(stats.std_mean[-1], plan.std.mean((1, 2)))
    assert plan.action.shape == (2, 2)
    assert plan.items is None


@pytest.mark.parametrize("kind", KINDS)
def test_explain_adds_the_cost_of_each_step_under_each_sample(kind: str) -> None:
    def items(actions: Tensor, noise: Tensor) -> Tensor:
        steps = (actions - 0.3).square().sum(3)[:, :, None].expand(-1, -1, len(noise), -1)
        last = 0.1 * noise[:, 0].abs().sum(1)
        return torch.cat([steps, last.expand(*steps.shape[:3])[..., None]], 3)

    planner = build(kind, latent_samples=5, risk="worst")
    noise, state = draw(planner, 2), planner.initial_state(2)
    cost = ItemisedCost(bowl, items)
    plan, _ = planner.plan(cost, state, noise, explain=True)
    assert plan.items is not None
    torch.testing.assert_close(plan.items, items(plan.actions[:, None], noise.latent)[:, 0])
    torch.testing.assert_close(plan.items.sum(2).amax(1), plan.cost)
    assert planner.plan(cost, state, noise)[0].items is None  # not computed without explain


def test_the_gradient_planner_needs_a_gradient_and_leaves_no_graph() -> None:
    planner = build("gradient")
    with pytest.raises(ValueError, match="not differentiable"):
        solve(planner, lambda actions, noise: bowl(actions.detach(), noise))
    weight = torch.ones((), requires_grad=True)
    plan = solve(planner, lambda actions, noise: weight * bowl(actions, noise))
    assert weight.grad is None
    assert not plan.actions.requires_grad
    assert not plan.cost.requires_grad


@pytest.mark.parametrize("kind", ["cem", "gradient"])
def test_wrong_shapes_are_refused(kind: str) -> None:
    planner = build(kind)
    state, noise = planner.initial_state(2), draw(planner, 2)
    with pytest.raises(ValueError, match="action noise"):
        planner.plan(bowl, state, draw(planner, 1))
    with pytest.raises(ValueError, match="horizon"):
        planner.plan(bowl, PlanState.initial(2, 4, 2), noise)
    with pytest.raises(ValueError, match="proposals"):
        planner.plan(bowl, state, noise, torch.zeros(1, 5, 3, 2))
    with pytest.raises(ValueError, match="the cost must return"):
        planner.plan(lambda actions, noise: bowl(actions, noise)[..., 0], state, noise)
    with pytest.raises(ValueError, match="reset mask"):
        state.reset(torch.zeros(2))
