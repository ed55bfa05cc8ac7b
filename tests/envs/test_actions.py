"""Choices as the agent gives them, one-hot, and as environments take them."""

import json
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from worldplan.envs import ActionSpec, EnvConfig, EnvironmentSpec, make_env, make_vector

SPACES: list[tuple[spaces.Space[Any], tuple[int, ...]]] = [
    (spaces.Discrete(3), (3,)),
    (spaces.Discrete(3, start=-1), (3,)),
    (spaces.Discrete(1), (1,)),
    (spaces.MultiDiscrete([2, 4, 1, 3]), (2, 4, 1, 3)),
    (spaces.MultiDiscrete([2, 3], start=[5, -2], dtype=np.int32), (2, 3)),
    (spaces.MultiBinary(3), (2, 2, 2)),
]


class Picky(gym.Env[Any, Any]):
    """Takes actions of its space only. The reward tells which it was; the frame is observed."""

    def __init__(self, action_space: spaces.Space[Any], observes: Any = None) -> None:
        self.action_space = action_space
        self.observation_space = observes or spaces.Discrete(9)
        self.received: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.received, self.t = [], 0
        return 0, {}

    def step(self, action: Any) -> Any:
        assert action in self.action_space, f"{action!r} is not in {self.action_space}"
        if isinstance(self.action_space, spaces.Discrete):
            assert {action: "as a key"}  # an array could not be one
        self.received.append(np.copy(action))
        self.t += 1
        return self.t, float(np.sum(action)), False, False, {}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gym.register("toy/Picky-v0", lambda **kw: Picky(**kw), max_episode_steps=8)
    yield
    del gym.registry["toy/Picky-v0"]


def one_hot(choices: tuple[int, ...], which: tuple[int, ...]) -> np.ndarray:
    parts = [np.eye(n, dtype=np.float32)[i] for n, i in zip(choices, which, strict=True)]
    return np.concatenate(parts)


@pytest.mark.parametrize(("space", "choices"), SPACES)
@pytest.mark.parametrize("repeat", [1, 2])
def test_the_environment_receives_each_of_its_actions(
    space: spaces.Space[Any], choices: tuple[int, ...], repeat: int
) -> None:
    env = make_env(
        EnvConfig(id="toy/Picky-v0", action_repeat=repeat, kwargs={"action_space": space})
    )
    spec = EnvironmentSpec.of(env).action
    assert (spec.choices, spec.size) == (choices, sum(choices))
    assert env.action_space.shape == (sum(choices),)
    first = np.ravel(getattr(space, "start", np.zeros(len(choices), int)))
    for which in np.ndindex(*choices):
        env.reset()
        action = one_hot(choices, which)
        _, reward, *_ = env.step(action)
        received = env.unwrapped.received  # type: ignore[attr-defined]
        assert len(received) == repeat
        assert all((np.ravel(a) == np.array(which) + first).all() for a in received)
        assert reward == repeat * sum(which + first)
        np.testing.assert_array_equal(spec.scaled(action), received[0])
        np.testing.assert_array_equal(spec.encoded(received[0][None])[0], action)
    env.close()


@pytest.mark.parametrize(("space", "choices"), SPACES)
def test_a_batch_is_decoded_and_encoded_at_once(
    space: spaces.Space[Any], choices: tuple[int, ...]
) -> None:
    spec = ActionSpec.of(space)
    space.seed(0)
    native = np.stack([space.sample() for _ in range(20)])
    action = spec.encoded(native)
    assert action.shape == (20, sum(choices))
    assert spec.valid(action).all()
    np.testing.assert_array_equal(spec.scaled(action), native)
    saved = json.loads(json.dumps(EnvironmentSpec.vectors(1, 1).to_json()))
    saved["action"] = json.loads(json.dumps(spec.__dict__))
    assert EnvironmentSpec.from_json(saved, None).action == spec


@pytest.mark.parametrize(
    "action",
    [
        [0, 0, 1, 0, 0],
        [1, 1, 1, 0, 0],
        [0.5, 0.5, 1, 0, 0],
        [1, 0, 2, -1, 0],
        [1, 0, np.nan, 0, 0],
    ],
)
def test_what_is_not_one_hot_is_refused(action: list[float]) -> None:
    space = spaces.MultiDiscrete([2, 3])
    env = make_env(EnvConfig(id="toy/Picky-v0", kwargs={"action_space": space}))
    env.reset()
    with pytest.raises(ValueError, match="one-hot choices among 2 and 3, got"):
        env.step(np.array(action, np.float32))
    env.close()


def test_a_choice_that_there_is_not_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match=r"row 1: expected choices among \(2,\) .*, got 4"):
        ActionSpec.of(spaces.Discrete(2, start=5)).encoded(np.array([5, 4]))


def test_other_choices_are_another_environment() -> None:
    def spec(space: spaces.Space[Any]) -> EnvironmentSpec:
        return EnvironmentSpec.of(
            make_env(EnvConfig(id="toy/Picky-v0", kwargs={"action_space": space}))
        )

    known = spec(spaces.MultiDiscrete([2, 3]))
    known.check_same(spec(spaces.MultiDiscrete([2, 3])))
    with pytest.raises(ValueError, match="choices of actions 3 at index 0, and 2 in training"):
        known.check_same(spec(spaces.MultiDiscrete([3, 2])))
    with pytest.raises(ValueError, match="first choices of actions 1 at index 1, and 0 in"):
        known.check_same(spec(spaces.MultiDiscrete([2, 3], start=[0, 1])))
    with pytest.raises(ValueError, match="actions of kind 'discrete', and 'multi_discrete' in"):
        known.check_same(spec(spaces.Discrete(5)))


def test_observations_that_are_choices_are_one_hot() -> None:
    """As Gymnasium flattens them."""
    vector = make_vector(
        EnvConfig(id="toy/Picky-v0", kwargs={"action_space": spaces.Discrete(2)}), 1
    )
    np.testing.assert_array_equal(vector.reset([0]), np.eye(9)[:1])
    observation, *_ = vector.step(np.array([[0, 1]], np.float32))
    np.testing.assert_array_equal(observation, np.eye(9)[1:2])
    vector.close()


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict(a=spaces.Discrete(2)),
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Graph(spaces.Discrete(2), None),
        spaces.MultiBinary((2, 2)),
        spaces.MultiDiscrete(np.array([[2, 2]])),
    ],
)
def test_other_action_spaces_are_refused_with_what_to_do(space: spaces.Space[Any]) -> None:
    expected = "expected as action space .* Discrete, .*, got .*; .*TransformAction makes one"
    with pytest.raises(ValueError, match=expected):
        make_env(EnvConfig(id="toy/Picky-v0", kwargs={"action_space": space}))
