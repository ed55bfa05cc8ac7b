"""Environments that are given as an object, or as a function that makes one, in place of an id.

They are registered with Gymnasium under an id of this process, `python/NAME`: from there on they
are made as any other. An object that Gymnasium can make from its id alone keeps that id.
"""

import inspect
import json
import re
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from worldplan.envs.spec import EnvConfig

NAMESPACE = "python/"
Make = Callable[..., gym.Env[Any, Any]]
_given: dict[str, Make] = {}  # by id


def given_env(given: object, env_id: str | None = None) -> EnvConfig:
    """The configuration of an environment, or of what a function makes at each call.

    A function is asked for films by the argument `render_mode="rgb_array"`, if it takes one.

    Args:
        given: a configuration, an environment as `gymnasium.make` makes it, or a function.
        env_id: of a run in which it was given before: it gets the same id.

    Raises:
        ValueError: neither, or an environment that cannot be made again.
    """
    if isinstance(given, EnvConfig):
        return given
    if isinstance(given, gym.Env):
        _refuse_flat(given)
        spec = _spec(given)
        known = None if env_id else _by_id(spec)
        return known or _register(lambda **how: gym.make(spec, **how), spec.id, env_id)
    if callable(given):
        return _register(given, _name(given), env_id)
    raise ValueError(
        "expected a preset, a Gymnasium id, an environment, or a function that makes one, got "
        f"{given!r}"
    )


def is_given(env_id: str) -> bool:
    """Whether the id is of what was given as an object or a function."""
    return env_id.startswith(NAMESPACE)


def missing(env_id: str) -> str:
    """What to say where such an id is not known: in another process than that of `given_env`."""
    return (
        f"the environment {env_id!r} was given to worldplan.train as an object or a function, "
        "which a run does not hold; expected it again, in Python: worldplan.train(FUNCTION, "
        "resume=RUN), worldplan.load(RUN).evaluate(FUNCTION)"
    )


def _spec(env: gym.Env[Any, Any]) -> EnvSpec:
    """From what Gymnasium makes the environment again, with all its wrappers."""
    spec, function = env.spec, "a function that makes it, such as worldplan.train(lambda: ...)"
    if spec is None:
        raise ValueError(
            f"expected an environment of gymnasium.make, or {function}: more than one is needed, "
            f"and {env} has no spec to make another from"
        )
    for wrapper in spec.additional_wrappers:
        if wrapper.kwargs is None:
            raise ValueError(
                f"expected {function}: Gymnasium cannot make its wrapper {wrapper.name} again"
            )
    kwargs = {k: v for k, v in spec.kwargs.items() if k != "render_mode"}
    return replace(spec, kwargs=kwargs)


def _by_id(spec: EnvSpec) -> EnvConfig | None:
    """The configuration by the id alone; None if that would be another environment."""
    known = gym.registry.get(spec.id)
    if known is None or spec.additional_wrappers or known.entry_point != spec.entry_point:
        return None
    kwargs = {k: v for k, v in spec.kwargs.items() if (k, v) not in known.kwargs.items()}
    if spec.max_episode_steps != known.max_episode_steps:
        kwargs["max_episode_steps"] = spec.max_episode_steps or -1
    try:
        saved = json.loads(json.dumps(kwargs))
    except (TypeError, ValueError):
        return None
    return EnvConfig(id=spec.id, kwargs=kwargs) if saved == kwargs else None


def _register(make: Make, name: str, env_id: str | None) -> EnvConfig:
    if env_id is None:
        own = f"{NAMESPACE}{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_') or 'env'}"
        numbered = (own if i == 1 else f"{own}_{i}" for i in range(1, 2 + len(_given)))
        env_id = next(u for u in numbered if _given.get(u, make) is make)
    _given[env_id] = make
    made: list[weakref.ref[gym.Env[Any, Any]]] = []
    takes = _takes_render_mode(make)

    def entry(**kwargs: Any) -> gym.Env[Any, Any]:
        if not takes:
            kwargs.pop("render_mode", None)
        env = make(**kwargs)
        if not isinstance(env, gym.Env):
            raise ValueError(f"expected {name} to make a Gymnasium environment, got {env!r}")
        _refuse_flat(env)
        made[:] = [ref for ref in made if ref() is not None]
        if any(ref() is env for ref in made):
            raise ValueError(
                f"expected {name} to make a new environment at each call, got one twice"
            )
        made.append(weakref.ref(env))
        return env

    gym.registry.pop(env_id, None)
    gym.register(env_id, entry, order_enforce=False)
    return EnvConfig(id=env_id)


def _refuse_flat(env: gym.Env[Any, Any]) -> None:
    if env.has_wrapper_attr("action_spec"):
        raise ValueError(
            "expected an environment as it is, got one of worldplan.make_env; give its EnvConfig "
            "in its place, or its id and the setting env.action_repeat"
        )


def _takes_render_mode(make: Make) -> bool:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # of native code
        return False
    return any(p.name == "render_mode" or p.kind is p.VAR_KEYWORD for p in parameters)


def _name(make: Make) -> str:
    inner = getattr(make, "func", make)  # of functools.partial
    return str(getattr(inner, "__name__", type(inner).__name__))
