"""Distances to a goal in units of steps. Shapes: N steps, H embedding."""

import pytest
import torch
from torch import Tensor

from tests.helpers.acting import initial
from tests.helpers.contract_cases import Case, some
from tests.helpers.small_models import rng
from worldplan.agent.acting.distance import GoalDistance, ruler
from worldplan.agent.models.world_model import ImaginedTrajectory, LearnedModel


def steps(*sizes: float) -> Tensor:
    """(2 H, H): one back and one forth in each direction, of that size."""
    forth = torch.diag(torch.tensor(sizes))
    return torch.cat([forth, -forth])


def length(away: Tensor, moves: Tensor) -> Tensor:
    found: Tensor = (away @ ruler(moves)).norm(dim=-1)
    return found


def test_equal_steps_are_all_as_long() -> None:
    moves = steps(3.0, 3.0)
    covariance = 9 / 2  # of each direction, and padded by a tenth
    expected = (9 / (2 * 1.1 * covariance)) ** 0.5
    torch.testing.assert_close(length(moves, moves), torch.full((4,), expected))


def test_a_direction_counts_by_what_a_step_moves_in_it() -> None:
    moves = steps(4.0, 1.0)
    quick, slow = length(torch.tensor([[4.0, 0.0], [0.0, 4.0]]), moves)
    # Variances 8 and 0.5; a tenth of their mean is 0.425.
    torch.testing.assert_close(quick**2, torch.tensor(16 / (2 * 8.425)))
    torch.testing.assert_close(slow**2, torch.tensor(16 / (2 * 0.925)))


def test_where_nothing_moves_is_not_infinitely_far() -> None:
    away = length(torch.tensor([[0.0, 1.0]]), steps(1.0, 0.0))
    torch.testing.assert_close(away**2, torch.tensor([1 / (2 * 0.025)]))


def test_neither_turning_nor_scaling_an_embedding_changes_a_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    moves = torch.randn(50, 3, generator=generator) * torch.tensor([2.0, 1.0, 0.1])
    away = torch.randn(7, 3, generator=generator)
    turn = 5 * torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    torch.testing.assert_close(length(away @ turn, moves @ turn), length(away, moves))


def test_a_collapsed_embedding_keeps_its_distances() -> None:
    assert ruler(torch.zeros(5, 2)).equal(torch.eye(2))


def test_a_goals_score_counts_steps() -> None:
    h = torch.tensor([[[0.0, 0.0]], [[4.0, 0.0]]])
    imagined = ImaginedTrajectory(h, h, h[1:], h[1:])
    goal = torch.tensor([[0.0, 4.0]])
    assert GoalDistance(goal, torch.eye(2))(imagined).tolist() == [-32]
    moves = steps(4.0, 1.0)
    expected = -(length(torch.tensor([[4.0, -4.0]]), moves) ** 2)
    torch.testing.assert_close(GoalDistance(goal, ruler(moves))(imagined), expected)


@some("learns")
def test_what_a_goal_does_not_say_is_as_on_average(case: Case) -> None:
    agent = case.make()
    agent.make_learner().observe(case.x(50, seed=1))
    assert isinstance(agent.model, LearnedModel)
    average = agent.model.normaliser.shift
    assert average.abs().min() > 0
    state, x, noise = initial(agent, 2), case.x(2), agent.controller.draw_noise(2, rng())
    said, unsaid = case.x(2, seed=2), case.x(2, seed=2)
    said[:, 1:], unsaid[:, 1:] = average[1:], torch.nan
    expected, _ = agent.controller(x, state, noise, said)
    plan, _ = agent.controller(x, state, noise, unsaid)
    assert torch.equal(plan.actions, expected.actions)
    torch.testing.assert_close(plan.cost, expected.cost, rtol=0, atol=0)
    with pytest.raises(ValueError, match="expected a finite"):
        agent.aim(unsaid[0].numpy())  # a user's goal says all
