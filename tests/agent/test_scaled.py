"""Actions in [-1, 1], and in an environment's own bounds."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.acting_agents import agent
from worldplan.envs import ActionSpec


def test_scaled_actions_are_within_the_environments_bounds() -> None:
    a = agent()
    plain = a.act(np.zeros((2, 3)))
    a.reset()
    with pytest.raises(ValueError, match="bounds of the environment's actions are not known"):
        a.act(np.zeros((2, 3)), scaled=True)
    a.spec = replace(a.spec, action=ActionSpec(2, low=(-1.0, 0.0), high=(3.0, 10.0)))
    a.reset()
    # -1 and 1 are the bounds, 0 is half-way between them.
    expected = np.array([1, 5]) + np.array([2, 5]) * plain
    assert a.act(np.zeros((2, 3)), scaled=True) == pytest.approx(expected, abs=1e-5)


def test_bounds_that_are_others_are_told() -> None:
    """[-1, 1] given to an environment from -3 to 3 would be a third of what is meant."""
    a = agent()
    a.spec = replace(a.spec, action=ActionSpec(2, low=(-3.0, -3.0), high=(3.0, 3.0)))
    with pytest.warns(UserWarning, match="bounds are -3 to 3; expected .*scaled=True") as told:
        a.act(np.zeros(3))
    assert told[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        for scaled in (True, False):
            a.act(np.zeros(3), scaled=scaled)
        a.spec = replace(a.spec, action=ActionSpec(2, low=(-1.0, -1.0), high=(1.0, 1.0)))
        a.act(np.zeros(3))
        agent().act(np.zeros(3))  # bounds that are not known
