"""Pictures in observations: of any size and order of channels, as (C, S, S) bytes.

Shapes: C channels, S side; a picture comes as (H, W), (H, W, C) or (C, H, W).
"""

from __future__ import annotations

import atexit
import functools
import math
import weakref
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import AddRenderObservation, FrameStackObservation
from numpy.typing import NDArray
from PIL import Image

from worldplan.envs.physics import physics_of

_SHADOWS = 1024  # pixels
Bytes = NDArray[np.uint8]
Layout = tuple[tuple[int, int, int, int], ...]
"""Of each picture in a flat observation: its first index, channels, height and width."""


def is_picture(space: spaces.Space[Any]) -> bool:
    """Whether a space is of pictures: bytes with a height and a width, and stacks of them."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and 2 <= len(space.shape) <= 4


def leaves(space: spaces.Space[Any]) -> list[spaces.Space[Any]]:
    """What a space is made of, in the order in which it is flattened."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.values() if isinstance(space, spaces.Dict) else space.spaces
        return [leaf for part in parts for leaf in leaves(part)]
    return [space]


def layout_of(space: spaces.Space[Any]) -> Layout:
    """Where pictures are in what a space is flattened to; those of a stack are channels of one."""
    found, start = [], 0
    for leaf in leaves(space):
        if is_picture(leaf):
            assert leaf.shape is not None
            *stack, height, width = leaf.shape
            found.append((start, math.prod(stack), height, width))
        start += spaces.flatdim(leaf)
    return tuple(found)


def resized(picture: Any, side: int) -> Bytes:
    """A picture (H, W), (H, W, C) or (C, H, W) as (C, S, S); a pixel is the mean of those below.

    Channels are the shorter one of the first and the last axis. Pictures that are not square are
    squeezed, as is usual for Atari.
    """
    given = np.asarray(picture)
    if given.ndim == 2:
        given = given[None]
    elif given.shape[-1] <= given.shape[0]:
        given = given.transpose(2, 0, 1)
    size = side, side
    if given.shape[1:] == size:
        return np.ascontiguousarray(given)
    layers = [Image.fromarray(np.ascontiguousarray(layer)) for layer in given]
    return np.stack([np.asarray(layer.resize(size, Image.Resampling.BOX)) for layer in layers])


def flattened(given: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """One picture, or a batch of them, in any layout -> (D,) or (B, D) of `shape` (C, H, W).

    What is flat already stays as it is.

    Raises:
        ValueError: no bytes, or other channels.
    """
    channels, side = shape[0], shape[1]
    size = channels * side * shape[2]
    if given.dtype != np.uint8:
        raise ValueError(f"expected a picture of bytes (uint8), got {given.dtype}")
    if given.shape[-1:] == (size,) and given.ndim <= 2:
        return given
    batch = given.ndim == 4 or (given.ndim == 3 and channels == 1 and 1 not in given.shape[::2])
    found: list[Bytes] = []
    if 2 <= given.ndim <= 4:
        found = [resized(picture, side) for picture in (given if batch else given[None])]
    if not found or found[0].shape != shape:
        raise ValueError(
            f"expected a picture of {channels} channels, as ({side}, {side}, {channels}) or of "
            f"another size, or flat ({size},), or a batch of them, got {given.shape}; the "
            "environment of worldplan.make_env stacks pictures (env.frame_stack)"
        )
    flat = np.stack(found).reshape(len(found), size)
    return flat if batch else flat[0]


class Pictures(gym.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """Each picture in an observation as (C, S, S); other parts stay as they are."""

    def __init__(self, env: gym.Env[Any, Any], side: int) -> None:
        RecordConstructorArgs.__init__(self, side=side)
        super().__init__(env)
        self.side = side
        self.observation_space = self._space(env.observation_space)

    def observation(self, observation: Any) -> Any:
        return self._resized(self.env.observation_space, observation)

    def _space(self, space: spaces.Space[Any]) -> spaces.Space[Any]:
        if isinstance(space, spaces.Dict):
            return spaces.Dict({key: self._space(part) for key, part in space.items()})
        if isinstance(space, spaces.Tuple):
            return spaces.Tuple([self._space(part) for part in space.spaces])
        if not is_picture(space):
            return space
        shape = resized(np.zeros(space.shape, np.uint8), self.side).shape
        return spaces.Box(0, 255, shape, np.uint8)

    def _resized(self, space: spaces.Space[Any], given: Any) -> Any:
        if isinstance(space, spaces.Dict):
            return {key: self._resized(part, given[key]) for key, part in space.items()}
        if isinstance(space, spaces.Tuple):
            return tuple(self._resized(p, x) for p, x in zip(space.spaces, given, strict=True))
        return resized(given, self.side) if is_picture(space) else given


_rendered: weakref.WeakSet[gym.Env[Any, Any]] = weakref.WeakSet()


@functools.cache
def _close_at_exit() -> None:
    """What draws must go before OpenGL does, which is at the interpreter's end.

    Call it when a frame was drawn: what is registered last is called first.
    """
    atexit.register(_close_rendered)


def _close_rendered() -> None:
    for env in list(_rendered):
        env.close()


def _limit_shadows(env: gym.Env[Any, Any]) -> None:
    """Shadow maps of 1024 pixels at most, before the first frame; MuJoCo's default is 4096.

    In small pictures that is no different, and without a GPU a frame takes a third of the time and
    a renderer 40 MB in place of 100.
    """
    if (found := physics_of(env)) is not None:
        quality = found[0].vis.quality
        quality.shadowsize = min(quality.shadowsize, _SHADOWS)


class GoalPicture(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Shows the goal of a task as observations show the task: as a stack of one picture.

    The task's `goal_frame()` renders the goal, and its `hide_goal()` keeps it out of other frames.
    """

    def __init__(self, env: gym.Env[Any, Any], side: int, stack: int) -> None:
        RecordConstructorArgs.__init__(self, side=side, stack=stack)
        super().__init__(env)
        self.side, self.stack = side, stack
        if not env.has_wrapper_attr("goal_frame"):
            raise ValueError(
                "observe=pixels needs a picture of the goal that this task sets: expected its "
                "methods goal_frame() and hide_goal(), as envs/tasks/rooms.py has them"
            )
        env.get_wrapper_attr("hide_goal")()

    @property
    def goal_observation(self) -> Bytes:
        """(D,) bytes, as `Flat` flattens observations."""
        frame = resized(self.env.get_wrapper_attr("goal_frame")(), self.side)
        return np.tile(frame.ravel(), self.stack)


def observe_pictures(env: gym.Env[Any, Any], rendered: bool, side: int, stack: int) -> Any:
    """Wraps an environment so that it is observed as it renders itself, in stacks of pictures.

    Args:
        rendered: or else as it is, with the pictures resized that are in its observations.
        side: S, of the pictures.
        stack: the last observations in one, oldest first; at the start the first one repeated.

    Raises:
        ValueError: the task sets goals and cannot show them.
    """
    goals = env.has_wrapper_attr("goal_observation")
    if rendered:
        _limit_shadows(env)
        env.reset(seed=0)  # Gymnasium's camera looks at where bodies are at the first frame
        env.render()
        env = AddRenderObservation(env)
        _rendered.add(env)
        _close_at_exit()
    if any(map(is_picture, leaves(env.observation_space))):
        env = Pictures(env, side)
    if stack > 1:
        env = FrameStackObservation(env, stack)
    return GoalPicture(env, side, stack) if rendered and goals else env
