"""Choices: how they are drawn, and the search for the best of all sequences of them."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.models.plans import build, draw
from tests.helpers.small_models import rng
from worldplan.planners import PLANNERS, ActionSpace, Box, Categorical, PlanState

SEARCHES = [kind for kind, planner in PLANNERS.items() if not planner.differentiates]
CHOICES = (3, 2, 2, 4)  # neighbours among equally many are handled at once


def blocks(actions: Tensor, choices: tuple[int, ...] = CHOICES) -> tuple[Tensor, ...]:
    return actions.split_with_sizes(choices, -1)


def probabilities(seed: int = 0) -> Tensor:
    logits = torch.randn(sum(CHOICES), generator=rng(seed))
    return torch.cat([part.softmax(-1) for part in blocks(logits)])


def assert_one_hot(actions: Tensor, choices: tuple[int, ...] = CHOICES) -> None:
    assert ((actions == 0) | (actions == 1)).all()
    for part in blocks(actions, choices):
        assert (part.sum(-1) == 1).all()


@pytest.mark.parametrize("of", ["draw", "explore", "sample", "random"])
def test_choices_are_drawn_as_often_as_they_are_probable(of: str) -> None:
    space, p = Categorical(CHOICES), probabilities()
    noise = torch.randn(40_000, space.size, generator=rng(1))
    if of == "draw":
        drawn = space.executable(space.draw(p, p, noise))
    elif of == "explore":
        drawn = space.explore(space.executable(p), p, p, 0.5, noise)
        p = 0.8 * p + 0.2 * torch.cat([torch.full((n,), 1 / n) for n in CHOICES])
    elif of == "sample":
        drawn, _ = space.sample(p.log(), noise, (-5.0, 1.0))
        uniform = torch.cat([torch.full((n,), 1 / n) for n in CHOICES])
        p = (1 - space.uniform_share) * p + space.uniform_share * uniform
    else:
        drawn = space.random(noise)
        p = torch.cat([torch.full((n,), 1 / n) for n in CHOICES])
    assert_one_hot(drawn)
    torch.testing.assert_close(drawn.mean(0), p, rtol=0, atol=0.01)
    # One choice says nothing about another.
    first, *others = blocks(drawn - p)
    assert all((first.T @ other / len(drawn)).abs().max() < 0.01 for other in others)


def test_a_policys_mode_is_its_most_probable_choice_and_its_entropy_is_known() -> None:
    space, p = Categorical(CHOICES), probabilities()
    mode, log_prob = space.sample(p.log(), torch.zeros(space.size), (-5.0, 1.0))
    assert torch.equal(mode, space.executable(p))
    uniform = torch.cat([torch.full((n,), 1 / n) for n in CHOICES])
    mixed = (1 - space.uniform_share) * p + space.uniform_share * uniform
    torch.testing.assert_close(log_prob, (mixed * mixed.log()).sum())


def test_widening_keeps_every_choice_alive_and_adds_up_to_one() -> None:
    space = Categorical(CHOICES)
    sure = space.executable(probabilities())
    p, std = space.widen(sure, sure, 0.05)
    torch.testing.assert_close(std, (p * (1 - p)).sqrt())
    for part, was, n in zip(blocks(p), blocks(sure), CHOICES, strict=True):
        torch.testing.assert_close(part.sum(), torch.tensor(1.0))
        torch.testing.assert_close(part, (was + 0.05 / n) / 1.05)
    unknown, _ = space.widen(torch.zeros(space.size), sure, 1.0)
    for part, n in zip(blocks(unknown), CHOICES, strict=True):
        torch.testing.assert_close(part, torch.full((n,), 1 / n))


class Walk:
    """A walk over five places, with a cost for each place and pair of choices: one is the best."""

    choices = 3, 2
    horizon = 3

    def __init__(self, seed: int) -> None:
        self.to = torch.randint(5, (5, 6), generator=rng(seed))
        self.price = torch.rand(5, 6, generator=rng(seed + 100))
        self.seen: list[Tensor] = []

    def __call__(self, actions: Tensor, noise: Tensor) -> Tensor:
        self.seen.append(actions)
        place = torch.zeros(actions.shape[:2], dtype=torch.long)
        cost = torch.zeros(actions.shape[:2])
        for t in range(actions.shape[2]):
            one, two = (part.argmax(-1) for part in blocks(actions[:, :, t], self.choices))
            cost, place = cost + self.price[place, 2 * one + two], self.to[place, 2 * one + two]
        return cost[..., None].expand(-1, -1, len(noise))

    def best(self) -> tuple[Tensor, float]:
        """The best of all 216 sequences, and its cost."""
        single = [
            torch.cat([torch.eye(3)[one], torch.eye(2)[two]])
            for one, two in itertools.product(range(3), range(2))
        ]
        every = torch.stack(
            [torch.stack(found) for found in itertools.product(single, repeat=self.horizon)]
        )
        costs = self(every[None], torch.zeros(1, self.horizon, 0))[0, :, 0]
        return every[costs.argmin()], float(costs.min())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", SEARCHES)
def test_finds_the_best_of_all_sequences(kind: str, seed: int) -> None:
    walk = Walk(seed)
    best, cost = walk.best()
    settings: dict[str, Any] = {"samples": 128, "iterations": 6, "keep": 0.5, "min_std": 0.3}
    if kind == "random_shooting":
        settings = {"samples": 2000}
    planner = build(
        kind, Categorical(walk.choices), horizon=walk.horizon, choose="best", **settings
    )
    plan, _ = planner.plan(walk, planner.initial_state(2), draw(planner, 2, seed=seed))
    assert plan.cost.tolist() == pytest.approx([cost] * 2)
    assert torch.equal(plan.actions, best.expand(2, -1, -1))


@pytest.mark.parametrize(
    ("kind", "choose"),
    [(kind, "best") for kind in SEARCHES]
    + [(kind, choose) for kind in ("cem", "icem", "mppi") for choose in ("mean", "sample")],
)
def test_what_is_imagined_is_what_is_executed(kind: str, choose: str) -> None:
    walk = Walk(0)
    planner = build(kind, Categorical(walk.choices), horizon=3, choose=choose, keep=0.5)
    state, proposals = planner.initial_state(3), torch.rand(3, 4, 3, 5, generator=rng())
    for seed in range(2):
        plan, state = planner.plan(walk, state, draw(planner, 3, seed=seed), proposals)
        for actions in (*walk.seen, plan.actions, state.elites):
            assert_one_hot(actions, walk.choices)
        torch.testing.assert_close(
            walk(plan.actions[:, None], torch.zeros(1, 3, 0))[:, 0, 0], plan.cost
        )


@pytest.mark.parametrize("kind", ["cem", "icem", "mppi"])
def test_the_plan_has_the_probabilities_of_the_elites_and_no_choice_dies(kind: str) -> None:
    neutral = {"momentum": 0.0} if kind != "mppi" else {"temperature": 1e9}
    walk, least = Walk(0), 0.1
    planner = build(
        kind, Categorical(walk.choices), horizon=3, iterations=1, elites=8, keep=0.0,
        min_std=least, **neutral,
    )  # fmt: skip
    plan, state = planner.plan(walk, planner.initial_state(1), draw(planner))
    candidates = walk.seen[0][0]
    order = walk(candidates[None], torch.zeros(1, 3, 0))[0, :, 0].argsort(stable=True)
    mean = candidates[order[:8]].mean(0)
    expected, std = planner.actions.widen(mean, mean, least)
    torch.testing.assert_close(state.mean[0], expected)
    torch.testing.assert_close(plan.std[0], std)
    assert state.mean.min() >= least / (1 + least) / 3 - 1e-6


def test_a_warm_start_is_mixed_with_uniform_draws() -> None:
    space = Categorical((4,))
    sure = torch.eye(4)[2].expand(1, 3, 4)
    start = PlanState(sure, torch.zeros(1, 0, 3, 4), torch.tensor([False]))
    for initial, warm in ((1.0, True), (0.25, True), (1.0, False)):
        planner = build(
            "cem", space, initial_std=initial, min_std=0.01, samples=4000, elites=4, keep=0.0,
            iterations=1, warm_start=warm,
        )  # fmt: skip
        seen: list[Tensor] = []

        def cost(actions: Tensor, noise: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(actions)
            return torch.zeros(*actions.shape[:2], len(noise))

        planner.plan(cost, start, draw(planner))
        found = seen[0][0, :, :, 2].mean(0)
        taken_over = (1 + initial / 4) / (1 + initial) if warm else 0.25
        # The new last step is not known.
        torch.testing.assert_close(
            found, torch.tensor([taken_over, taken_over, 0.25]), rtol=0, atol=0.03
        )


@pytest.mark.parametrize("kind", SEARCHES)
def test_same_seed_same_plan_and_a_batch_equals_single_plans(kind: str) -> None:
    walk = Walk(1)
    planner = build(kind, Categorical(walk.choices), horizon=3)
    noise = draw(planner, 3)
    together, _ = planner.plan(walk, planner.initial_state(3), noise)
    for b in range(3):
        own = replace(noise, actions=noise.actions[:, b : b + 1], select=noise.select[b : b + 1])
        alone, _ = planner.plan(walk, planner.initial_state(1), own)
        assert torch.equal(alone.actions[0], together.actions[b])


@pytest.mark.parametrize("space", [Box(3), Categorical((3,))])
def test_every_noise_gives_an_executable_action(space: ActionSpace) -> None:
    extreme = torch.tensor([[-40.0, 0.0, 40.0], [40.0, 40.0, 40.0], [-40.0, -40.0, -40.0]])
    mean, std = space.widen(torch.zeros(3, 3), torch.zeros(3, 3), 1e-3)
    for actions in (
        space.executable(space.draw(mean, std, extreme)),
        space.random(extreme),
        space.sample(torch.zeros(3, space.policy_size), extreme, (-5.0, 1.0))[0],
    ):
        assert actions.isfinite().all()
        assert torch.equal(space.executable(actions), actions)


def test_the_gradient_planner_refuses_choices() -> None:
    expected = r"moves actions along a gradient.*expected .*cem, icem, mppi or random_shooting"
    with pytest.raises(ValueError, match=expected):
        build("gradient", Categorical((2,)))


def test_chosen_are_the_numbers_of_the_choices() -> None:
    actions = torch.tensor(
        [[0.0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 1], [1.0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0]]
    )
    assert Categorical(CHOICES).chosen(actions).tolist() == [[1, 0, 1, 3], [0, 1, 0, 0]]
