"""The speed at which environments are shown."""

import math
import os
from typing import Any

import gymnasium as gym
import mujoco
import pytest

from worldplan.envs import EnvConfig, make_env
from worldplan.envs.physics import physics_of
from worldplan.envs.rendering.frames import frames_per_second, rendered


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


@pytest.mark.skipif("MUJOCO_GL" not in os.environ, reason="nothing renders here")
@pytest.mark.parametrize("name", ["Hopper-v5", "HalfCheetah-v5", "Walker2d-v5"])
def test_the_camera_follows_the_body(name: str) -> None:
    """40 m on, what differs from the floor is in the same place of the picture."""
    env = make_env(EnvConfig(id=name), render_mode="rgb_array")
    env.reset(seed=0)
    found = physics_of(env)
    assert found is not None
    model, data = found
    camera = env.unwrapped.mujoco_renderer.camera_id  # type: ignore[attr-defined]
    tracks = mujoco.mjtCamLight.mjCAMLIGHT_TRACK, mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM
    assert int(model.cam_mode[camera]) in map(int, tracks)
    rendered(env)
    data.qpos[0] = 40
    mujoco.mj_forward(model, data)
    assert abs(data.cam_xpos[camera][0] - data.subtree_com[0][0]) < 2
    env.close()


@pytest.mark.skipif("MUJOCO_GL" not in os.environ, reason="nothing renders here")
def test_a_camera_that_is_asked_for_stays() -> None:
    config = EnvConfig(id="Hopper-v5", kwargs={"camera_id": -1})
    env = make_env(config, render_mode="rgb_array")
    assert env.unwrapped.mujoco_renderer.camera_id == -1  # type: ignore[attr-defined]
    env.close()
