"""Observations that float32 cannot carry are named."""

import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from worldplan.envs import EnvConfig, make_env
from worldplan.envs.observations.precision import too_fine


class Far(gym.Env[Any, Any]):
    """Two numbers that vary by 1, seen in another unit and from another origin."""

    def __init__(self, unit: float = 1.0, origin: float = 0.0) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self.unit, self.origin = unit, origin

    def _see(self) -> Any:
        return self.unit * (self.np_random.uniform(size=2) + np.array([self.origin, 0]))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self._see(), {}

    def step(self, action: Any) -> Any:
        return self._see(), 0.0, False, False, {}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gym.register("toy/Far-v0", lambda **kwargs: Far(**kwargs), max_episode_steps=10)
    yield
    del gym.registry["toy/Far-v0"]


def play(**kwargs: float) -> None:
    env = make_env(EnvConfig(id="toy/Far-v0", kwargs=kwargs))
    env.reset(seed=0)
    for _ in range(10):
        env.step(np.zeros(1, np.float32))


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_any_unit_is_carried(unit: float) -> None:
    with warnings.catch_warnings(action="error"):
        play(unit=unit)
        play(unit=unit, origin=1e4)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_an_origin_that_is_too_far_is_named(unit: float) -> None:
    with pytest.warns(UserWarning, match=r"toy/Far-v0: .* at index \[0\]: float32 rounds"):
        play(unit=unit, origin=1e7)


def test_constant_dimensions_and_noise_of_sums_are_not_named() -> None:
    low = np.array([1e9, 0.1 + 0.2, -1e-17, 0.0])
    high = np.array([1e9, 0.3, 1e-17, 0.0])
    assert too_fine(np.minimum(low, high), np.maximum(low, high)) == []
