"""Makes an environment from its id.

Shapes: D observation, A action.
"""

import contextlib
import copy
import difflib
import importlib
import importlib.util
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.registration import EnvSpec, load_env_creator

from worldplan.envs.actions import check_space
from worldplan.envs.given import is_given, missing
from worldplan.envs.goals import DesiredGoal
from worldplan.envs.observations.parts import parts_of
from worldplan.envs.observations.pictures import leaves, observe_pictures
from worldplan.envs.packages import is_installed, module_of
from worldplan.envs.physics import ObserveState, physics_of
from worldplan.envs.rendering import backend
from worldplan.envs.rendering.choose import choose_backend
from worldplan.envs.rendering.frames import frames_per_second, seconds_per_frame
from worldplan.envs.spec import EnvConfig
from worldplan.envs.vector.batched import Batch, One
from worldplan.envs.wrappers import ActionRepeat, Flat, FlatEnv

_DM_CONTROL = "dm_control/"
_NO_DM_CONTROL = (3, 13)  # the first Python for which the extra installs nothing; see pyproject
_DM_CONTROL_CAMERA = {"height": 480, "width": 480, "camera_id": 0}
_SEEN = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_PICTURE = 1024  # numbers from which on a field of them is taken for a picture
# This project's tasks, with time limits in frames.
_OWN = {
    "worldplan/Gusts-v0": ("worldplan.envs.tasks.gusts:Gusts", 40),
    "worldplan/Reach-v0": ("worldplan.envs.tasks.reach:Reach", 50),
    "worldplan/TwoRooms-v0": ("worldplan.envs.tasks.rooms:TwoRooms", 200),
}
# As is usual with Gymnasium: `import worldplan.envs`, then `gym.make` knows them.
for _name, (_entry_point, _limit) in _OWN.items():
    gym.register(_name, _entry_point, max_episode_steps=_limit)


def make_env(config: EnvConfig, render_mode: str | None = None) -> FlatEnv:
    """Makes one environment: observation (D,) and action (A,), both float32.

    An action is numbers in [-1, 1], or one-hot choices side by side: see `actions.ActionSpec`.
    The environment keeps its own time limit, in frames. `metadata["render_fps"]` is in decisions
    per second. To render without a display, set MUJOCO_GL (see `render.choose_backend`) before
    the first environment is made. `wrappers.Flat` documents the errors of `step`.

    Raises:
        ValueError: unknown id, missing extra, kwargs that the environment refuses, or
            unsupported spaces.
    """
    return wrapped(created(config, render_mode), config)


def wrapped(env: gym.Env[Any, Any], config: EnvConfig) -> FlatEnv:
    """An environment as the agent sees it; closed where that cannot be."""
    try:
        _check_spaces(config.id, env)
        frames = _frame_limit(env)
        if config.aim:
            env = DesiredGoal(env, config.id)
        if config.observe == "state":
            env = ObserveState(env, config.id)
        _check_fields(config.id, env.observation_space)
        rendered, stack = config.observe == "pixels", config.frame_stack
        repeated = ActionRepeat(env, config.action_repeat)
        seen = observe_pictures(repeated, rendered, config.image_size, stack)
    except gym.error.Error as error:  # of what renders, which says what to install
        env.close()
        raise ValueError(f"environment {config.id!r} cannot be rendered: {error}") from error
    except ValueError:
        env.close()
        raise
    decisions = None if frames is None else math.ceil(frames / config.action_repeat)
    flat = Flat(seen, config.id, decisions)
    seconds, fps = seconds_per_frame(env), frames_per_second(env, config.action_repeat)
    flat.metadata = {**(env.metadata or {}), "render_fps": fps, "seconds_per_frame": seconds}
    return flat


def is_batched(config: EnvConfig) -> bool:
    """Whether the task is to be one environment that steps a batch, or has no other form."""
    known = gym.registry.get(_imported(config.id))
    return config.batched or (known is not None and known.entry_point is None)


def _imported(env_id: str) -> str:
    """The id without its module, which is imported."""
    module, _, name = env_id.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(
                f"cannot import {module!r} of environment id {env_id!r}: {error}. Install it, "
                "or add its folder to PYTHONPATH"
            ) from error
    return name


def created(config: EnvConfig, render_mode: str | None, num_envs: int | None = None) -> Any:
    """The environment as Gymnasium makes it: with `num_envs` one that steps a batch."""
    name = _imported(config.id)
    kwargs = copy.deepcopy(config.kwargs)  # an environment may change what it gets
    pixels, size = config.observe == "pixels", {}
    if pixels:
        render_mode = "rgb_array"
        size = {"height": config.image_size, "width": config.image_size}
        with contextlib.suppress(ValueError):  # of MuJoCo's renderer, which others do not need
            backend.use(choose_backend())
    if name.startswith(_DM_CONTROL):
        _import_dm_control(name, render_mode is not None)
        if render_mode is not None:
            kwargs.setdefault("render_kwargs", _DM_CONTROL_CAMERA | size)
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    try:
        known = gym.spec(name)
    except gym.error.Error as error:
        raise ValueError(_unknown(name)) from error
    if pixels and _is_mujoco(known):  # others render as they do, and pictures are resized
        kwargs = size | kwargs
    try:
        with _without_deprecation():
            if not is_batched(config):
                env = gym.make(name, disable_env_checker=True, **kwargs)
                if render_mode is not None and not {"camera_id", "camera_name"} & set(kwargs):
                    _follow(env)
                return env
            batch: Batch = gym.make_vec(
                name, num_envs or 1, vectorization_mode="vector_entry_point", **kwargs
            )
            return One(batch) if num_envs is None else batch
    except TypeError as error:
        if not kwargs:
            raise
        raise ValueError(f"environment {name!r} cannot be made with {kwargs}: {error}") from error
    except (gym.error.Error, ImportError) as error:  # they say what to do
        extra = re.search(r"gymnasium\[(box2d|classic-control)\]", str(error))
        ours = f" (pip install 'worldplan[{extra[1]}]' does)" if extra else ""
        raise ValueError(f"environment {name!r} cannot be made: {error}{ours}") from error


def _follow(env: gym.Env[Any, Any]) -> None:
    """Renders by the camera that follows the body, where MuJoCo's model has one.

    Gymnasium did so until 1.4, whose camera stays while what it shows runs away.
    """
    renderer, found = getattr(env.unwrapped, "mujoco_renderer", None), physics_of(env)
    if renderer is not None and found is not None and renderer.camera_id == -1:
        kind = mujoco.mjtObj.mjOBJ_CAMERA
        renderer.camera_id = mujoco.mj_name2id(found[0], kind, "track")  # -1: it has none


def _is_mujoco(spec: EnvSpec) -> bool:
    """Whether an environment is one of Gymnasium's MuJoCo classes, which render in any size."""
    entry = spec.entry_point
    maker = load_env_creator(entry) if isinstance(entry, str) else entry
    return isinstance(maker, type) and issubclass(maker, MujocoEnv)


def _unknown(name: str) -> str:
    if is_given(name):
        return missing(name)
    said = f"no environment has the id {name!r}."
    module = module_of(name)
    if module is not None and module != "worldplan":  # whose own are known
        there = is_installed(module)
        first = "The package that registers it is installed" if there else f"Install {module}"
        return f"{said} {first}; expected its module too: {module}:{name}"
    by_lower = {known.lower(): known for known in gym.registry}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3)
    names = " or ".join(repr(by_lower[match]) for match in near)
    hint = (
        f"Did you mean {names}?"
        if near
        else "The id of your own environment has the form 'module:EnvId'"
    )
    return f"{said} {hint}"


def _check_spaces(name: str, env: gym.Env[Any, Any]) -> None:
    check_space(name, env.action_space)
    observation = env.observation_space
    odd = [part for part in leaves(observation) if not isinstance(part, _SEEN)]
    if odd:
        raise ValueError(
            f"{name!r}: expected as observations Box, Discrete, MultiDiscrete or MultiBinary, or "
            f"Dict and Tuple of them, got {odd[0]}; gymnasium.wrappers.TransformObservation makes "
            "numbers of it"
        )


def _check_fields(name: str, space: spaces.Space[Any]) -> None:
    """Refuses pictures that are not bytes, or that have more axes: they would be flattened."""
    for leaf, (part, _) in zip(leaves(space), parts_of(space), strict=True):
        if not isinstance(leaf, spaces.Box) or len(leaf.shape) < 2:
            continue
        odd = leaf.dtype == np.uint8 and len(leaf.shape) > 3
        if odd or (leaf.dtype != np.uint8 and math.prod(leaf.shape) >= _PICTURE):
            raise ValueError(
                f"{name!r}: expected as observations vectors, or pictures of uint8 with a height, "
                f"a width and channels, got {leaf.shape} of {leaf.dtype}"
                f"{part and f' as part {part!r}'}; gymnasium.wrappers.TransformObservation "
                "can convert it"
            )


def _frame_limit(env: gym.Env[Any, Any]) -> int | None:
    """The time limit in frames, of Gymnasium's wrapper or of dm_control; None if there is none."""
    limits = (
        env.spec.max_episode_steps if env.spec else None,
        getattr(env.unwrapped, "_step_limit", None),
    )
    known = [limit for limit in limits if limit is not None and math.isfinite(limit)]
    return math.ceil(min(known)) if known else None


def _import_dm_control(name: str, rendering: bool) -> None:
    """Imports shimmy, which registers dm_control's tasks.

    dm_control selects its renderer when it is imported. Without rendering it is switched off, so
    that training needs no display and does not warn about a missing one.
    """
    if not all(importlib.util.find_spec(package) for package in ("shimmy", "dm_control")):
        if sys.version_info >= _NO_DM_CONTROL:
            raise ValueError(
                f"environment {name!r} needs Python 3.12 or older, got "
                f"{sys.version_info[0]}.{sys.version_info[1]}: dm_control depends on labmaze, "
                "which has no wheels for newer ones. With Python 3.12: "
                "pip install 'worldplan[dm-control]'"
            )
        raise ValueError(f"environment {name!r} needs: pip install 'worldplan[dm-control]'")
    was = os.environ.get("MUJOCO_GL")
    off = not rendering and (was is None or backend.is_broken())
    if off:
        os.environ["MUJOCO_GL"] = "off"
    try:
        # dm_control's composer enables all deprecation warnings of the process when imported.
        with warnings.catch_warnings():
            importlib.import_module("shimmy.dm_control_compatibility")
    finally:
        if off:  # Gymnasium's renderer reads it at its first frame
            del os.environ["MUJOCO_GL"]
            os.environ.update({} if was is None else {"MUJOCO_GL": was})
    if rendering and importlib.import_module("dm_control._render").BACKEND == "off":
        raise ValueError(
            f"environment {name!r} cannot render: dm_control was imported without a renderer. Set "
            "MUJOCO_GL to egl, osmesa or glfw before the first environment is made"
        )


@contextlib.contextmanager
def _without_deprecation() -> Iterator[None]:
    """Mutes a deprecation warning of MuJoCo's that the cheetahs of both suites cause.

    MuJoCo writes it to stderr and to a file. Other warnings are logged.
    """

    def handle(message: str) -> None:
        if "'settotalmass' is deprecated" not in message:
            logging.getLogger(__name__).warning(message)

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(handle)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
