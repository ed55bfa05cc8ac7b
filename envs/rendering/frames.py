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


def frames_per_second(env: gym.Env[Any, Any], repeat: int = 1) -> float:
    """Frames a second that show an environment at its real speed, one each `repeat` of its steps.

    It says so itself, as `metadata["render_fps"]`; 30 if it does not. For Gymnasium's MuJoCo
    tasks and dm_control's that figure is rounded or wrong, and their `dt` is exact.
    """
    inner, said = env.unwrapped, (env.metadata or {}).get("render_fps", _USUAL)
    exact = isinstance(inner, MujocoEnv) or getattr(inner, "physics", None) is not None
    fps = float(said) if _is_number(said) else _USUAL
    seconds = getattr(inner, "dt", None)
    if exact and _is_number(seconds):
        fps = 1 / float(seconds)
    fps = round(min(max(fps / repeat, _SLOWEST), _FASTEST), 6)
    return int(fps) if fps.is_integer() else fps


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


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether it can be a number of seconds or of frames a second."""
    known = isinstance(value, int | float | np.integer | np.floating) and value is not True
    return known and math.isfinite(value) and value > 0
