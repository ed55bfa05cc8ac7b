"""What others expect of a Gymnasium environment holds for ours."""

import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from worldplan.envs import EnvConfig, make_env

OURS = ["worldplan/Gusts-v0", "worldplan/Reach-v0", "worldplan/TwoRooms-v0"]


def checked(env: gym.Env[Any, Any]) -> None:
    """Gymnasium's checker, without its advice on bounds that are infinite."""
    with warnings.catch_warnings(action="ignore"):
        check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("id", ["InvertedPendulum-v5", "CartPole-v1", *OURS])
def test_what_is_made_passes_gymnasiums_checker(id: str) -> None:
    checked(make_env(EnvConfig(id=id, action_repeat=2)))


@pytest.mark.parametrize("id", OURS)
def test_our_tasks_pass_it_too(id: str) -> None:
    checked(gym.make(id).unwrapped)


@pytest.mark.parametrize("id", OURS)
def test_flags_are_bools(id: str) -> None:  # Stable-Baselines3's checker wants no NumPy ones
    env = gym.make(id).unwrapped
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(env.action_space.sample())
    assert type(terminated) is type(truncated) is bool


def test_an_environment_is_made_again_from_its_spec() -> None:
    env = make_env(EnvConfig(id="InvertedPendulum-v5", action_repeat=3, observe="state"))
    assert env.spec is not None
    again = gym.make(env.spec)
    for one in (env, again):
        one.reset(seed=3)
    for _ in range(3):
        action = 0.1 * env.action_space.sample()
        assert (env.step(action)[0] == again.step(action)[0]).all()


def test_gymnasium_knows_our_tasks_after_the_import() -> None:
    words = "import gymnasium, worldplan.envs; print(gymnasium.make('worldplan/Gusts-v0'))"
    said = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert "Gusts" in said.stdout
