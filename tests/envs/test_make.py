"""make_env and VectorEnv, on toy environments that record their actions."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from worldplan.envs import make_env, make_vector
from worldplan.envs.spec import EnvConfig
from worldplan.envs.wrappers import EnvironmentFault

ANY = spaces.Box(-np.inf, np.inf, (3,), np.float64)


class Clock(gym.Env[Any, Any]):
    """Observes (frame, last action), float64; the reward is the frame. Writes into one buffer."""

    def __init__(
        self,
        action_space: spaces.Space[Any] | None = None,
        observation_space: spaces.Space[Any] = ANY,
        ends_at: int | None = None,
        override: dict[str, Any] | None = None,
    ) -> None:
        self.action_space = action_space or spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = observation_space
        self.ends_at = ends_at
        self.override = override or {}
        self.buffer = np.zeros(3)
        self.received: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.buffer[:] = 0, self.np_random.random(), 0
        return self.buffer, {}

    def step(self, action: Any) -> Any:
        self.received.append(np.array(action))
        self.buffer[0] += 1
        self.buffer[1:] = action
        frame = float(self.buffer[0])
        observation = self.override.get("observation", self.buffer)
        return observation, self.override.get("reward", frame), frame == self.ends_at, False, {}


class Parts(Clock):
    """The same in a Dict; its keys are not in alphabetical order."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Dict(
            {
                "time": spaces.Box(0, 9, ()),
                "hand": spaces.Box(-1, 1, (2, 1)),
                "mode": spaces.Discrete(2),
            }
        )

    def step(self, action: Any) -> Any:
        (frame, *hand), *rest = super().step(action)
        return {"time": np.array(frame), "hand": np.array(hand)[:, None], "mode": 1}, *rest

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return {"time": np.array(0.0), "hand": np.zeros((2, 1)), "mode": 0}, {}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    before = dict(gym.registry)
    gym.register("toy/Clock-v0", lambda **kwargs: Clock(**kwargs), max_episode_steps=5)
    gym.register("toy/Parts-v0", lambda **kwargs: Parts(**kwargs))
    yield
    gym.registry.clear()
    gym.registry.update(before)


def clock(action_repeat: int = 1, **kwargs: Any) -> EnvConfig:
    return EnvConfig(id="toy/Clock-v0", action_repeat=action_repeat, kwargs=kwargs)


def action(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, np.float32)


# --- observations and actions


def test_spaces_and_values_are_float32() -> None:
    env = make_env(clock(action_space=spaces.Box(-2, 4, (2,), np.float64)))
    assert env.observation_space.dtype == env.action_space.dtype == np.float32
    assert env.action_space == spaces.Box(-1, 1, (2,), np.float32)
    first, _ = env.reset(seed=0)
    second, reward, *_ = env.step(action(0, 0))
    assert first.dtype == second.dtype == np.float32
    assert type(reward) is float
    assert first in env.observation_space


def test_bounds_of_the_observation_space_are_kept() -> None:
    env = make_env(clock(observation_space=spaces.Box(0, 7, (3,), np.float64)))
    assert env.observation_space == spaces.Box(0, 7, (3,), np.float32)


def test_dict_observation_is_flattened_in_the_order_of_its_keys() -> None:
    env = make_env(EnvConfig(id="toy/Parts-v0"))
    assert env.reset()[0].tolist() == [0, 0, 1, 0, 0]
    assert env.step(action(0.25, 0.5))[0].tolist() == [0.25, 0.5, 0, 1, 1]  # hand, mode, time


def test_observation_belongs_to_its_step_and_its_action() -> None:
    env = make_env(clock())
    env.reset()
    for t, value in enumerate((0.5, -0.25, 1.0), start=1):
        assert env.step(action(value, -value))[0].tolist() == [t, value, -value]


def test_the_environment_receives_the_rescaled_action() -> None:
    low, high = np.array([-2.0, 0.0]), np.array([4.0, 0.5])
    env = make_env(clock(action_repeat=2, action_space=spaces.Box(low, high, dtype=np.float64)))
    env.reset()
    planned = np.random.default_rng(0).uniform(-1, 1, (2, 2)).astype(np.float32)
    planned[1] = 1, -1
    for a in planned:
        env.step(a)
    expected = np.repeat(low + (planned + 1) / 2 * (high - low), 2, axis=0)
    received: Any = env.unwrapped.received  # type: ignore[attr-defined]
    np.testing.assert_allclose(received, expected, rtol=1e-6)
    np.testing.assert_array_equal(received[-1], [4, 0])  # the bounds exactly
    assert all(a in env.unwrapped.action_space for a in received)


def test_actions_are_unchanged_where_the_bounds_are_already_one() -> None:
    env = make_env(clock())
    env.reset()
    planned = action(1e-12, -0.1)
    env.step(planned)
    received: Any = env.unwrapped.received  # type: ignore[attr-defined]
    np.testing.assert_array_equal(received, [planned])


@pytest.mark.parametrize("wrong", [action(1.01, 0), action(np.nan, 0), action(0), action(0, 0, 0)])
def test_an_action_out_of_range_or_of_wrong_shape_is_refused(wrong: Any) -> None:
    env = make_env(clock())
    env.reset()
    with pytest.raises(ValueError, match="action"):
        env.step(wrong)
    env.step(action(1 + 1.2e-7, 0))  # rounding errors are accepted, and clipped
    np.testing.assert_array_equal(env.unwrapped.received, [[1, 0]])  # type: ignore[attr-defined]


# --- episodes


def test_action_repeat_sums_rewards_and_counts_frames() -> None:
    env = make_env(clock(action_repeat=2))
    assert env.get_wrapper_attr("max_episode_steps") == 3  # of 5 frames
    env.reset()
    steps = [env.step(action(0, 0)) for _ in range(3)]
    assert [s[1] for s in steps] == [1 + 2, 3 + 4, 5]
    assert [s[2:4] for s in steps] == [(False, False), (False, False), (False, True)]
    with pytest.raises(gym.error.ResetNeeded):
        env.step(action(0, 0))


def test_action_repeat_stops_at_the_end_of_the_episode() -> None:
    env = make_env(clock(action_repeat=4, ends_at=3))
    env.reset()
    observation, reward, terminated, truncated, _ = env.step(action(0, 0))
    assert (observation[0], reward, terminated, truncated) == (3, 6, True, False)


def test_stepping_before_reset_is_refused() -> None:
    with pytest.raises(gym.error.ResetNeeded):
        make_env(clock()).step(action(0, 0))


# --- faults


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_non_finite_observation_is_a_fault(value: float) -> None:
    env = make_env(clock(override={"observation": np.array([0, value, 0])}))
    env.reset()
    with pytest.raises(EnvironmentFault, match=r"toy/Clock-v0, step 1 .* index \[1\]"):
        env.step(action(0, 0))
    with pytest.raises(gym.error.ResetNeeded):
        env.step(action(0, 0))


def test_non_finite_reward_is_a_fault() -> None:
    env = make_env(clock(override={"reward": -np.inf}))
    env.reset()
    with pytest.raises(EnvironmentFault, match="reward is -inf"):
        env.step(action(0, 0))


@pytest.mark.parametrize("reward", [None, np.zeros(2), "one"])
def test_reward_must_be_a_number(reward: Any) -> None:
    env = make_env(clock(override={"reward": reward}))
    env.reset()
    with pytest.raises(ValueError, match="expected a single number as reward"):
        env.step(action(0, 0))


@pytest.mark.parametrize("observation", [np.zeros(4), np.zeros(2), "text", {}])
def test_observation_must_fit_its_space(observation: Any) -> None:
    env = make_env(clock(override={"observation": observation}))
    env.reset()
    with pytest.raises(ValueError, match="toy/Clock-v0: its observation"):
        env.step(action(0, 0))


# --- what cannot be made


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"action_space": spaces.Text(2)}, r"Discrete, or .*, got Text.*TransformAction makes"),
        ({"action_space": spaces.Box(-1, 1, (2, 2))}, "one-dimensional"),
        ({"action_space": spaces.Box(0, 3, (2,), np.int32)}, "float Box"),
        ({"action_space": spaces.Box(-np.inf, 1, (2,))}, "finite bounds"),
        ({"action_space": spaces.Box(-1e10, 1e10, (2,))}, "finite bounds within ±1e"),
        ({"observation_space": spaces.Sequence(ANY)}, "as observations Box, .* got Sequence"),
        ({"typo": 1}, "typo"),
    ],
)
def test_unsupported_environments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_env(clock(**kwargs))


# --- several at once


def test_vector_resets_only_where_the_mask_is_true() -> None:
    vector = make_vector(clock(), 3)
    first = vector.reset([0, 1, 2])
    assert first.shape == (3, 3)
    assert first.dtype == np.float32
    stepped, *_ = vector.step(np.full((3, 2), 0.5, np.float32))
    again = vector.reset([0, 0, 2], np.array([True, False, True]))
    np.testing.assert_array_equal(again, [first[0], stepped[1], first[2]])
    vector.close()


def test_vector_returns_the_final_observation_and_both_flags() -> None:
    vector = make_vector(clock(ends_at=4), 2)
    vector.reset([0, 1])
    for _ in range(3):
        vector.step(np.zeros((2, 2), np.float32), np.array([True, False]))
    observations, rewards, terminated, truncated = vector.step(np.full((2, 2), 0.5, np.float32))
    np.testing.assert_array_equal(observations, [[4, 0.5, 0.5], [1, 0.5, 0.5]])
    np.testing.assert_array_equal(rewards, [4, 1])
    np.testing.assert_array_equal(terminated, [True, False])
    np.testing.assert_array_equal(truncated, [False, False])
    kept, rewards, terminated, _ = vector.step(
        np.zeros((2, 2), np.float32), np.array([False, True])
    )
    np.testing.assert_array_equal(kept, [[4, 0.5, 0.5], [2, 0, 0]])  # the first was not active
    assert (rewards[0], terminated[0]) == (0, False)
    with pytest.raises(gym.error.ResetNeeded):
        vector.step(np.zeros((2, 2), np.float32))


def test_vector_truncates_at_the_time_limit() -> None:
    vector = make_vector(clock(), 1)
    vector.reset([0])
    assert vector.max_episode_steps == 5
    ends = [vector.step(np.zeros((1, 2), np.float32))[2:] for _ in range(5)]
    assert [bool(truncated[0]) for _, truncated in ends] == [False] * 4 + [True]
    assert not any(terminated[0] for terminated, _ in ends)


def test_vector_returns_copies() -> None:
    vector = make_vector(clock(), 2)
    first = vector.reset([0, 1])
    kept = first.copy()
    second = vector.step(np.ones((2, 2), np.float32))[0]
    second[:] = -1  # must not change the environments' own arrays
    np.testing.assert_array_equal(first, kept)
    inactive = np.zeros(2, np.bool_)
    third = vector.step(np.ones((2, 2), np.float32), inactive)[0]
    np.testing.assert_array_equal(third, np.ones((2, 3)))


def test_vector_checks_shapes() -> None:
    vector = make_vector(clock(), 2)
    with pytest.raises(ValueError, match="2 seeds"):
        vector.reset([0])
    with pytest.raises(ValueError, match="boolean mask"):
        vector.reset([0, 1], np.array([1, 0]))
    with pytest.raises(ValueError, match="shape"):
        vector.step(np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="num_envs"):
        make_vector(clock(), 0)
