"""The speed at which environments are shown."""

import math
from typing import Any

import gymnasium as gym
import pytest

from worldplan.envs import EnvConfig, make_env
from worldplan.envs.rendering.frames import frames_per_second


class Timed(gym.Env[Any, Any]):
    def __init__(self, dt: Any, **metadata: Any) -> None:
        self.dt, self.metadata = dt, metadata


@pytest.mark.parametrize("dt", [0.002, lambda: 0.1, None, "x"])
def test_dt_is_not_the_films(dt: Any) -> None:
    """It may be that of an integrator, or a method."""
    assert frames_per_second(Timed(dt, render_fps=50)) == 50
    assert frames_per_second(Timed(dt, render_fps=50), repeat=4) == 12.5
    assert frames_per_second(Timed(dt)) == 30


@pytest.mark.parametrize("said", [None, 0, -3, math.nan, math.inf, "30", True, [30]])
def test_what_is_no_speed_is_the_usual_one(said: Any) -> None:
    assert frames_per_second(Timed(0.1, render_fps=said)) == 30


def test_suites_have_their_exact_speed() -> None:
    env = make_env(EnvConfig(id="Hopper-v5", action_repeat=2))  # 0.008 s a frame
    assert env.metadata["render_fps"] == 62.5
    env.close()
