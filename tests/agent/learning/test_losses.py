"""Losses of the heads, each against numbers worked out by hand or a closed form."""

import math

import torch
from torch import Tensor

from tests.helpers.small_models import rng
from worldplan.agent.learning import losses


def column(*numbers: float) -> Tensor:
    """A window (T, 1)."""
    return torch.tensor(numbers).unsqueeze(-1)


ALL = torch.ones(3, 1, dtype=torch.bool)
NEVER = torch.zeros(3, 1)


def test_returns_sum_rewards_and_end_in_the_value() -> None:
    r, b = column(1, 2, 3), torch.tensor([8.0])
    returns = losses.window_returns(r, NEVER, ALL, b, 0.5)
    torch.testing.assert_close(returns, column(3.75, 5.5, 7.0))


def test_returns_stop_where_the_task_is_over() -> None:
    r, b = column(1, 2, 3), torch.tensor([8.0])
    returns = losses.window_returns(r, column(0, 1, 0), ALL, b, 0.5)
    torch.testing.assert_close(returns, column(2.0, 2.0, 7.0))
    returns = losses.window_returns(r, column(0, 0, 1), ALL, b, 0.5)
    torch.testing.assert_close(returns, column(2.75, 3.5, 3.0))


def test_truncation_ends_the_window_and_not_the_return() -> None:
    """Two steps, then the time limit: the value of the last state takes over there."""
    valid = torch.tensor([[True], [True], [False]])
    r, b = column(1, 2, 0), torch.tensor([8.0])
    returns = losses.window_returns(r, NEVER, valid, b, 0.5)
    torch.testing.assert_close(returns[:2], column(4.0, 6.0))
    # What stands after the end counts for nothing, whatever it is.
    other = losses.window_returns(column(1, 2, 99), column(0, 0, 1), valid, b, 0.5)
    torch.testing.assert_close(other[:2], returns[:2])
    # Terminated at that very step instead: nothing to bootstrap from.
    over = losses.window_returns(r, column(0, 1, 0), valid, b, 0.5)
    torch.testing.assert_close(over[:2], column(2.0, 2.0))


def test_returns_of_sequences_do_not_mix() -> None:
    r, done = torch.randn(4, 6, generator=rng()), torch.zeros(4, 6)
    done[2, 1] = done[0, 4] = 1
    valid = torch.ones(4, 6, dtype=torch.bool)
    valid[1:, 3] = False
    b = torch.randn(6, generator=rng(1))
    together = losses.window_returns(r, done, valid, b, 0.9)
    for i in range(6):
        one = slice(i, i + 1)
        alone = losses.window_returns(r[:, one], done[:, one], valid[:, one], b[one], 0.9)
        torch.testing.assert_close(together[:, one], alone)


def test_continuation_is_the_cross_entropy_of_going_on() -> None:
    logit = torch.tensor([2.0, 2.0, -1.0])
    loss = losses.continuation(logit, torch.tensor([0.0, 1.0, 1.0]))
    goes_on = [1 / (1 + math.exp(-x)) for x in (2, 2, -1)]
    expected = [-math.log(goes_on[0]), -math.log(1 - goes_on[1]), -math.log(1 - goes_on[2])]
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_policy_climbs_the_scaled_value_and_keeps_entropy() -> None:
    value, log_prob = torch.tensor([6.0, -2.0]), torch.tensor([-1.0, 3.0])
    loss = losses.policy(value, log_prob, torch.tensor(4.0), 0.5)
    torch.testing.assert_close(loss, torch.tensor([-2.0, 2.0]))
