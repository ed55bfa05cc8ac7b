"""Where nothing is to be explored, plans are the more cautious the further values are spread."""

from typing import Any

import pytest
import torch

from tests.agent.test_agent import agent
from tests.helpers.acting import initial, take

PLANNER = {"kind": "mppi", "samples": 16, "elites": 8, "iterations": 2}
X = torch.ones(6, 3)


def plans(spread: float, temperature: float, **how: Any) -> Any:
    a = agent(planner={**PLANNER, "temperature": temperature}, noise_min_std=0.0)
    a.heads.unit.spread.fill_(spread)
    return take(a, X, initial(a, 6), torch.Generator().manual_seed(0), "planner", **how)[2]


def test_a_temperature_of_2_is_three_tenths_of_the_spread() -> None:
    spread_out, warmer = plans(400.0, 2.0), plans(1.0, 120.0)
    torch.testing.assert_close(spread_out.actions, warmer.actions)
    assert not torch.equal(spread_out.actions, plans(1.0, 2.0).actions)


@pytest.mark.parametrize("how", [{}, {"explain": True}])
def test_what_is_reported_is_in_the_unit_of_rewards(how: dict[str, Any]) -> None:
    spread_out, warmer = plans(400.0, 2.0, **how), plans(1.0, 120.0, **how)
    torch.testing.assert_close(spread_out.cost, warmer.cost)
    if how:
        torch.testing.assert_close(spread_out.items, warmer.items, rtol=1e-5, atol=1e-4)


def test_exploring_and_small_spreads_change_nothing() -> None:
    for how, spread in (({"explore": True}, 400.0), ({}, 6.0)):
        plain, same = plans(1.0, 2.0, **how), plans(spread, 2.0, **how)
        assert torch.equal(plain.actions, same.actions)
