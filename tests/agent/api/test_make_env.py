"""`worldplan.make_env` takes what `worldplan.train` takes."""

import gymnasium as gym
import numpy as np
import pytest

import worldplan


@pytest.mark.parametrize(
    "task",
    ["inverted-pendulum", "InvertedPendulum-v5", worldplan.EnvConfig(id="InvertedPendulum-v5")],
    ids=["preset", "id", "config"],
)
def test_actions_are_in_one_range(task: object) -> None:
    env = worldplan.make_env(task)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (4,)
    assert env.action_space.high.tolist() == [1.0]  # type: ignore[attr-defined]
    env.close()


def test_a_preset_has_its_settings_of_the_environment() -> None:
    ours, theirs = worldplan.make_env("hopper"), gym.make("Hopper-v5")
    x, _ = ours.reset(seed=0)
    y, _ = theirs.reset(seed=0)
    x, *_ = ours.step(np.zeros(3, np.float32))
    for _ in range(4):  # frames of a decision
        y, *_ = theirs.step(np.zeros(3, np.float32))
    np.testing.assert_allclose(x, y, rtol=1e-5)


def test_the_nearest_preset_is_named() -> None:
    with pytest.raises(ValueError, match="Did you mean 'hopper'"):
        worldplan.make_env("hoper")
