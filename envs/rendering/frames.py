"""Frames that environments render: their speed, and pictures of them."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import gymnasium as gym
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from numpy.typing import NDArray

_USUAL = 30.0  # frames a second where an environment does not say
_SLOWEST, _FASTEST = 0.01, 1e5  # that a film can be


def seconds_per_frame(env: gym.Env[Any, Any]) -> float | None:
    """Simulated seconds of a step: Gymnasium's MuJoCo tasks and dm_control's know, as `dt`."""
    inner = env.unwrapped
    exact = isinstance(inner, MujocoEnv) or getattr(inner, "physics", None) is not None
    seconds = getattr(inner, "dt", None)
    return float(seconds) if exact and _is_number(seconds) else None


def frames_per_second(env: gym.Env[Any, Any], repeat: int = 1) -> float:
    """Frames a second that show an environment at its real speed, one each `repeat` of its steps.

    It says so itself, as `metadata["render_fps"]`; 30 if it does not. Where `seconds_per_frame`
    is known that figure is rounded or wrong.
    """
    said, seconds = (env.metadata or {}).get("render_fps", _USUAL), seconds_per_frame(env)
    fps = float(said) if _is_number(said) else _USUAL
    if seconds is not None:
        fps = 1 / seconds
    fps = round(min(max(fps / repeat, _SLOWEST), _FASTEST), 6)
    return int(fps) if fps.is_integer() else fps


def rendered(env: gym.Env[Any, Any]) -> NDArray[np.uint8]:
    """What an environment that `make_env` made shows now; as `as_picture`."""
    return as_picture(env.render(), env.get_wrapper_attr("name"))


def as_picture(frame: Any, source: str) -> NDArray[np.uint8]:
    """A rendered frame as red, green and blue (height, width, 3).

    Grey frames (height, width) or (height, width, 1) and frames with transparency
    (height, width, 4), which is dropped, are converted.

    Raises:
        ValueError: anything else; the message names `source`.
    """
    picture = np.asarray(frame)
    if picture.ndim == 2:
        picture = picture[..., None]
    channels = picture.shape[-1] if picture.ndim == 3 else 0
    if channels not in (1, 3, 4) or not picture.size:
        got = f"{picture.dtype} of shape {picture.shape}" if picture.ndim else repr(frame)
        raise ValueError(
            f"{source}: expected render() to return one picture (height, width, 3), grey or with "
            f"transparency too; got {got}"
        )
    whole = picture.dtype.kind in "iu"
    if not whole or picture.min() < 0 or picture.max() > 255:
        span = f", {picture.min()} to {picture.max()}" if whole else ""
        raise ValueError(
            f"{source}: expected render() to return whole numbers from 0 to 255, best uint8; got "
            f"{picture.dtype}{span}"
        )
    colours = picture[..., :3].astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))


def enlarged(picture: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """A picture (height, width, 3) whose height is `least` or more: each pixel is repeated."""
    times = -(-least // len(picture))
    return picture.repeat(times, 0).repeat(times, 1)


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether it can be a number of seconds or of frames a second."""
    known = isinstance(value, int | float | np.integer | np.floating) and value is not True
    return known and math.isfinite(value) and value > 0
