"""Goal environments, as those of gymnasium-robotics: aimed at, or with their goal observed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tests.helpers.commands import run
from tests.helpers.settings import SMALL
from worldplan.envs import EnvConfig, make_vector
from worldplan.envs.goals import DesiredGoal


class Place(gym.Env[Any, Any]):
    """A point is to be moved to a place; the reward is 0 there and -1 elsewhere.

    Observation: a clock, the point's place, its last movement.
    """

    def __init__(self) -> None:
        any_of = {"observation": 5, "achieved_goal": 2, "desired_goal": 2}
        self.observation_space = spaces.Dict(
            {key: spaces.Box(-np.inf, np.inf, (n,), np.float64) for key, n in any_of.items()}
        )
        self.action_space = spaces.Box(-1.0, 1.0, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t, (self.at, self.goal) = 0, self.np_random.uniform(-1, 1, (2, 2))
        return self._see(np.zeros(2)), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        moved = 0.2 * np.asarray(action, np.float64)
        self.at = self.at + moved
        there = np.linalg.norm(self.at - self.goal) < 0.3
        return self._see(moved), float(there) - 1, False, self.t >= 10, {}

    def _see(self, moved: Any) -> Any:
        own = np.concatenate([[self.t / 10], self.at, moved])
        return {"observation": own, "achieved_goal": self.at, "desired_goal": self.goal}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gym.register("toy/Place-v0", lambda **how: Place(**how))
    yield
    del gym.registry["toy/Place-v0"]


def test_the_goal_is_to_be_reached_and_not_observed() -> None:
    env = make_vector(EnvConfig(id="toy/Place-v0", aim=True), 2)
    assert env.spec.sets_goals
    assert env.spec.observation.parts == (("achieved_goal", 2), ("observation", 5))
    seen, goals = env.reset([1, 2]), env.goals()
    assert goals is not None
    wanted = [Place().reset(seed=seed)[0]["desired_goal"] for seed in (1, 2)]
    for i, place in enumerate(wanted):
        expected = np.concatenate([place, [np.nan], place, [np.nan, np.nan]])
        np.testing.assert_array_equal(goals[i], expected.astype(np.float32))
        assert seen[i, 0] == seen[i, 3], "the achieved goal is also the task's own"
    env.step(np.ones((2, 2), np.float32))
    later = env.goals()
    assert later is not None
    np.testing.assert_array_equal(later, goals)


class Counted(gym.ObservationWrapper[Any, Any, Any]):
    """Its observation has whole numbers, which cannot be NaN."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        inner = env.observation_space
        assert isinstance(inner, spaces.Dict)
        counts = spaces.Box(0, 9, (2,), np.int64)
        self.observation_space = spaces.Dict({**inner.spaces, "observation": counts})

    def observation(self, observation: Any) -> Any:
        return {**observation, "observation": np.array([3, 5])}


def test_what_cannot_be_unsaid_is_as_at_the_start() -> None:
    env = DesiredGoal(Counted(Place()), "toy")
    first, _ = env.reset(seed=0)
    wanted = Place().reset(seed=0)[0]["desired_goal"]
    np.testing.assert_array_equal(env.goal_observation, [*wanted, 3, 5])
    assert first["observation"].tolist() == [3, 5]


def test_or_it_is_observed_and_the_sparse_reward_learned() -> None:
    env = make_vector(EnvConfig(id="toy/Place-v0"), 1)
    assert env.goals() is None
    parts = (("achieved_goal", 2), ("desired_goal", 2), ("observation", 5))
    assert env.spec.observation.parts == parts
    seen = env.reset([0])
    rewards = []
    for _ in range(10):
        towards = np.clip(5 * (seen[:, 2:4] - seen[:, :2]), -1, 1)
        seen, reward, *_ = env.step(towards)
        rewards.append(float(reward[0]))
    assert set(rewards) == {-1.0, 0.0}
    assert rewards[-1] == 0


def test_what_is_no_goal_environment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"env\.aim is for tasks that observe a Dict of achieved_"):
        make_vector(EnvConfig(id="InvertedPendulum-v5", aim=True), 1)


@pytest.mark.parametrize("aim", ["true", "false"])
def test_both_ways_train(aim: str, tmp_path: Path) -> None:
    run_dir, env = tmp_path / "run", ["--env", "toy/Place-v0", f"env.aim={aim}"]
    run("train", *env, *SMALL, "steps=45", f"run_dir={run_dir}")
    run("evaluate", run_dir, "--episodes", "2")
