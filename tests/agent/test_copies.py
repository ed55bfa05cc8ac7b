"""Agents share no memory with their caller, and can be copied, sent and reset in part."""

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tests.helpers.acting_agents import agent, observations
from worldplan.agent.config.run import RunConfig
from worldplan.envs import EnvConfig, make_env


def test_an_action_is_the_callers_to_change() -> None:
    plain, other = agent(), agent()
    for x in observations(2, 4):
        given = x.copy()
        action = other.act(given)
        np.testing.assert_array_equal(plain.act(x), action)
        action[:] = 9
        given[:] = 9


def test_settings_are_copied() -> None:
    kwargs: dict[str, Any] = {"low": [1.0], "deep": {"a": [1]}}
    config = EnvConfig(id="x", kwargs=kwargs)
    kwargs["low"][0], kwargs["deep"]["a"][0] = 2.0, 2
    assert config.kwargs == {"low": [1.0], "deep": {"a": [1]}}
    assert RunConfig(task="x", env=config).env.kwargs == config.kwargs


class Greedy(gym.Env[Any, Any]):
    """Changes all that it gets."""

    observation_space = spaces.Box(-9, 9, (1,), np.float32)
    action_space = spaces.Box(-2, 2, (1,), np.float32)

    def __init__(self, listed: list[int]) -> None:
        listed.clear()
        self.seen = np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.seen, {}

    def step(self, action: Any) -> Any:
        self.seen[:] = action
        action *= 0.5
        return self.seen, 0.0, False, False, {}


def test_an_environment_may_change_what_it_gets() -> None:
    gym.register("toy/Greedy-v0", lambda **kwargs: Greedy(**kwargs))
    config = EnvConfig(id="toy/Greedy-v0", action_repeat=3, kwargs={"listed": [1, 2]})
    try:
        env = make_env(config)
    finally:
        del gym.registry["toy/Greedy-v0"]
    assert config.kwargs == {"listed": [1, 2]}
    first, _ = env.reset()
    action = np.ones(1, np.float32)
    observation, *_ = env.step(action)
    # The last frame got the same action as the first.
    assert [float(x[0]) for x in (action, observation, first)] == [1, 2, 0]


@pytest.mark.parametrize("how", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_a_copy_goes_on_in_the_middle_of_an_episode(how: Any) -> None:
    a, xs = agent(), observations(2, 5)
    a.aim([1.0, 0.0, 2.0])
    for x in xs[:2]:
        a.act(x)
    before = torch.get_rng_state()
    other = how(a)
    assert torch.equal(torch.get_rng_state(), before)
    for x in xs[2:]:
        np.testing.assert_array_equal(a.act(x), other.act(x))
    with torch.no_grad():
        for p in other.model.parameters():
            p.zero_()
    other.aim(None)
    assert any(p.any() for p in a.model.parameters())
    assert a.controller.goal is not None


def test_a_deep_copy_keeps_a_users_cost() -> None:
    a = agent()
    a.minimise(lambda x: x[..., 0], lambda f: f)
    other = copy.deepcopy(a)
    x = observations(1)[0]
    np.testing.assert_array_equal(a.act(x), other.act(x))


def test_some_rows_of_a_batch_are_reset() -> None:
    mask, xs = np.array([True, False, True]), observations(3)
    part, whole, none = agent(), agent(), agent()
    for a in (part, whole, none):
        for x in xs[:2]:
            a.act(x)
    part.reset(mask)
    whole.reset(np.ones(3, bool))
    got, fresh, on = (a.act(xs[2]) for a in (part, whole, none))
    np.testing.assert_array_equal(got[mask], fresh[mask])
    np.testing.assert_array_equal(got[~mask], on[~mask])
    assert not np.array_equal(fresh, on)


@pytest.mark.parametrize("mask", [[True], [0, 1, 1], True, 3, np.ones((3, 1), bool)])
def test_a_mask_must_fit(mask: Any) -> None:
    a = agent()
    a.act(observations(3)[0])
    with pytest.raises(ValueError, match=r"reset mask must be bool \(3,\)"):
        a.reset(mask)


def test_a_mask_before_the_first_observation_changes_nothing() -> None:
    a, other, x = agent(), agent(), observations(2)[0]
    a.reset([True, False])
    np.testing.assert_array_equal(a.act(x), other.act(x))
