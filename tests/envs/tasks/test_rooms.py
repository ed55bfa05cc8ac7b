"""Our own tasks with goals: their dynamics, and when a goal is reached."""

import mujoco
import numpy as np
import pytest

from worldplan.envs import EnvConfig, make_env, make_vector
from worldplan.envs.tasks.reach import TOLERANCE as TIP
from worldplan.envs.tasks.reach import Reach
from worldplan.envs.tasks.rooms import DOOR, RADIUS, TOLERANCE, WALL, Floats, TwoRooms


def put(env: TwoRooms | Reach, *angles_or_place: float) -> None:
    """Moves the body to a state at rest."""
    env.data.qpos[:2] = angles_or_place
    env.data.qvel[:2] = 0
    mujoco.mj_forward(env.model, env.data)


def drive(env: TwoRooms, start: list[float], action: list[float], frames: int) -> Floats:
    env.reset(seed=0)
    env.goal_observation = np.array([9.0, 9.0])  # nothing ends
    put(env, *start)
    for _ in range(frames):
        observation, _, _, _, _ = env.step(np.array(action))
    return observation


def test_the_wall_stops_and_the_door_lets_through() -> None:
    env, middle = TwoRooms(), sum(DOOR) / 2
    for y in (-0.9, 0.0, 0.25, 0.75, 0.9):
        x, _ = drive(env, [-0.5, y], [1.5, 0.0], 60)
        assert x == pytest.approx(-WALL - RADIUS, abs=0.02)
    x, y = drive(env, [-0.5, middle], [1.5, 0.0], 60)
    assert x == pytest.approx(1 - RADIUS, abs=0.02)
    assert y == pytest.approx(middle, abs=1e-3)


def test_the_ball_follows_the_action_and_slides_along_walls() -> None:
    env = TwoRooms()
    # 10 frames of 0.02 s at (0.5, -1), less the 0.005 s that it lags behind.
    assert drive(env, [-0.5, 0.0], [0.5, -1.0], 10) == pytest.approx([-0.4025, -0.195], abs=1e-3)
    assert drive(env, [-0.5, 0.9], [0.5, 1.5], 10) == pytest.approx([-0.4025, 0.95], abs=0.02)


def test_the_goal_is_in_the_other_room() -> None:
    env, starts = TwoRooms(), []
    for seed in range(50):
        start, _ = env.reset(seed=seed)
        assert start[0] * env.goal_observation[0] < 0
        for place in (start, env.goal_observation):
            assert WALL + RADIUS <= abs(place[0]) <= 1 - RADIUS
            assert abs(place[1]) <= 1 - RADIUS
        starts.append(start)
    assert np.std(starts, axis=0).min() > 0.4


def test_the_goal_in_two_rooms_is_reached_within_the_tolerance() -> None:
    env = TwoRooms()
    env.reset(seed=0)
    for away, reached in ((TOLERANCE - 1e-3, True), (TOLERANCE + 1e-3, False)):
        put(env, -0.5, 0.0)
        env.goal_observation = np.array([-0.5, away])
        _, reward, terminated, truncated, _ = env.step(np.zeros(2))
        assert (reward, terminated, truncated) == (float(reached), reached, False)


def test_reach_terminates_in_the_posture_of_the_goal() -> None:
    env = Reach()
    for seed in range(20):
        start, _ = env.reset(seed=seed)
        assert start.shape == env.goal_observation.shape == (6,)
        assert not start[4:].any()
        assert not env.step(np.zeros(2))[2]
        cos, sin = env.goal_observation[:2], env.goal_observation[2:4]
        put(env, *np.arctan2(sin, cos))
        tip = 0.1 * np.array([cos[0], sin[0]]) + 0.11 * np.array(
            [cos[0] * cos[1] - sin[0] * sin[1], sin[0] * cos[1] + cos[0] * sin[1]]
        )
        assert tip == pytest.approx(env.data.qpos[2:], abs=1e-6)
        observation, reward, terminated, _, _ = env.step(np.zeros(2))
        assert observation == pytest.approx(env.goal_observation, abs=1e-6)
        assert (reward, terminated) == (1.0, True)
        for away, reached in ((TIP - 1e-3, True), (TIP + 1e-3, False)):
            env.data.qpos[2:] = tip + np.array([0, away])
            _, reward, terminated, _, _ = env.step(np.zeros(2))
            assert (reward, terminated) == (float(reached), reached)
    assert TIP == 0.02


@pytest.mark.parametrize(("name", "decisions"), [("TwoRooms", 40), ("Reach", 25)])
def test_tasks_are_made_by_id_and_depend_on_their_seed(name: str, decisions: int) -> None:
    repeat = {"TwoRooms": 5, "Reach": 2}[name]
    config = EnvConfig(id=f"worldplan/{name}-v0", action_repeat=repeat)
    env = make_vector(config, 2)
    assert env.max_episode_steps == decisions
    first, goals = env.reset([3, 4]), env.goals()
    assert goals is not None
    assert goals.shape == first.shape
    assert not np.array_equal(goals[0], goals[1])
    again = make_vector(config, 2)
    np.testing.assert_array_equal(again.reset([3, 4]), first)
    np.testing.assert_array_equal(again.goals(), goals)
    with pytest.raises(ValueError, match=f"Did you mean 'worldplan/{name}-v0'"):
        make_env(EnvConfig(id=f"worldplan/{name}-v1"))


def test_other_tasks_have_no_goal() -> None:
    assert make_vector(EnvConfig(id="Reacher-v5"), 1).goals() is None
