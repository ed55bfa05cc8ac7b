"""Goals of two-rooms and reach, as pictures."""

import os
from typing import Any

import mujoco
import numpy as np
import pytest

from worldplan.envs import EnvConfig, make_env
from worldplan.envs.physics import physics_of
from worldplan.envs.vector.vector_env import goals_of

pytestmark = pytest.mark.skipif("MUJOCO_GL" not in os.environ, reason="nothing renders here")
TASKS = ["worldplan/TwoRooms-v0", "worldplan/Reach-v0"]


def made(name: str, **settings: Any) -> Any:
    return make_env(EnvConfig(id=name, observe="pixels", image_size=48, **settings))


def state(env: Any) -> Any:
    found = physics_of(env)
    assert found is not None
    return np.concatenate([found[1].qpos, found[1].qvel])


@pytest.mark.parametrize("name", TASKS)
def test_the_goal_is_what_would_be_seen_there(name: str) -> None:
    env = made(name, frame_stack=2)
    env.reset(seed=0)
    goals = goals_of([env])
    assert goals is not None
    found = physics_of(env)
    assert found is not None
    places = {TASKS[0]: lambda e: e.goal_observation, TASKS[1]: lambda e: e._goal}
    found[1].qpos[:2] = places[name](env.unwrapped)
    found[1].qvel[:] = 0
    mujoco.mj_forward(*found)
    there = env.get_wrapper_attr("render")().transpose(2, 0, 1).ravel()
    np.testing.assert_array_equal(goals[0].reshape(2, -1), [there, there])


@pytest.mark.parametrize("name", TASKS)
def test_looking_at_the_goal_changes_nothing(name: str) -> None:
    looking, other = made(name), made(name)
    for env in (looking, other):
        env.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(5):
        goals_of([looking])
        action = rng.uniform(-1, 1, 2).astype(np.float32)
        seen = [env.step(action)[0] for env in (looking, other)]
        np.testing.assert_array_equal(*seen)
        np.testing.assert_array_equal(state(looking), state(other))


@pytest.mark.parametrize("name", TASKS)
def test_observations_do_not_show_the_goal(name: str) -> None:
    """Two episodes from the same place, with other goals, look alike."""
    env = made(name)
    first, _ = env.reset(seed=0)
    inner = env.unwrapped
    if name == TASKS[0]:
        inner.model.site("goal").pos[:2] *= -1
    else:
        inner.data.qpos[2:] *= -1
    mujoco.mj_forward(inner.model, inner.data)
    np.testing.assert_array_equal(first, env.render().transpose(2, 0, 1).ravel())


def test_a_task_that_cannot_show_its_goal_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match=r"its methods goal_frame\(\) and hide_goal\(\)"):
        make_env(EnvConfig(id="toy_envs:ToyGoal-v0", observe="pixels"))
