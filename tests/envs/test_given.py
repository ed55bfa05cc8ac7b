"""Environments given as objects and functions are made as those with an id are."""

import functools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation, TimeLimit

from tests.helpers.toy_envs import Levers, Point
from worldplan.envs import EnvConfig, given_env, is_given, make_env, make_vector


def short() -> gym.Env[Any, Any]:
    return TimeLimit(Point(), 7)


def test_what_a_function_makes_is_made_at_each_call() -> None:
    config = given_env(short)
    assert is_given(config.id)
    assert given_env(short) == config
    env = make_vector(config, 2)
    assert env.max_episode_steps == 7
    assert env.reset([0, 1]).shape == (2, 2)
    assert make_env(config).unwrapped is not make_env(config).unwrapped


@pytest.mark.parametrize("make", [Point, functools.partial(Point, limit=3)])
def test_a_class_and_a_partial_are_functions(make: Any) -> None:
    env = make_env(given_env(make)).unwrapped
    assert isinstance(env, Point)
    assert env.limit == (3 if isinstance(make, functools.partial) else 25)


def test_functions_of_one_name_are_told_apart() -> None:
    a, b = (given_env(lambda limit=limit: Point(limit)) for limit in (3, 4))
    assert a.id != b.id
    assert [make_env(c).unwrapped.limit for c in (a, b)] == [3, 4]  # type: ignore[attr-defined]


def test_an_object_keeps_its_id_where_that_makes_it() -> None:
    plain = gym.make("Pendulum-v1", g=9.0, max_episode_steps=30, render_mode="rgb_array")
    config = given_env(plain)
    assert config == EnvConfig(id="Pendulum-v1", kwargs={"g": 9.0, "max_episode_steps": 30})
    assert make_env(config).get_wrapper_attr("max_episode_steps") == 30
    endless = given_env(gym.make("Pendulum-v1", max_episode_steps=-1))
    assert make_env(endless).get_wrapper_attr("max_episode_steps") is None


def test_an_object_with_wrappers_is_made_with_them() -> None:
    stacked = FrameStackObservation(gym.make("Pendulum-v1"), 2)
    config = given_env(stacked)
    assert is_given(config.id)
    env = make_env(config)
    assert env.observation_space.shape == (6,)
    assert env.get_wrapper_attr("max_episode_steps") == 200


def test_a_function_is_asked_for_films_if_it_takes_the_argument() -> None:
    config = given_env(lambda render_mode=None: Levers(render_mode))
    assert make_env(config, render_mode="rgb_array").unwrapped.render_mode == "rgb_array"
    assert make_env(given_env(short), render_mode="rgb_array").unwrapped.render_mode is None


class Unrecorded(gym.Wrapper[Any, Any, Any, Any]):
    """It does not say how it was made."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Point(), "has no spec to make another from"),
        (Unrecorded(gym.make("Pendulum-v1")), "cannot make its wrapper Unrecorded again"),
        (make_env(EnvConfig(id="Pendulum-v1")), "env.action_repeat"),
        (3, "a function that makes one, got 3"),
        (np.zeros(2), "a function that makes one"),
    ],
)
def test_what_cannot_be_made_again_is_refused(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given_env(given)


def test_what_a_function_makes_is_checked() -> None:
    same = Point()
    with pytest.raises(ValueError, match="to make a new environment at each call"):
        make_vector(given_env(lambda: same), 2)
    nothing: Any = lambda: None  # noqa: E731
    with pytest.raises(ValueError, match="to make a Gymnasium environment, got None"):
        make_env(given_env(nothing))


def test_elsewhere_the_function_is_asked_for_again() -> None:
    with pytest.raises(ValueError, match=r"worldplan.train\(FUNCTION, resume=RUN\)"):
        make_env(EnvConfig(id="python/gone"))
