"""The wrappers that `make_env` puts around an environment.

Shapes: ... any leading shape, D observation, A action.
"""

import copy
import sys
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from worldplan.envs.actions import ActionBox, ActionSpec, Array, decoder
from worldplan.envs.observations.choices import choices_of
from worldplan.envs.observations.parts import parts_of
from worldplan.envs.observations.pictures import layout_of
from worldplan.envs.observations.precision import warn_if_too_fine

FlatEnv = gym.Env[Array, Array]
"""What `make_env` returns: observation (D,) and action (A,), both float32 Boxes; see `Flat`."""

# After any of these warnings MuJoCo resets its state within the episode and continues.
_UNSTABLE = {
    "position": int(mujoco.mjtWarning.mjWARN_BADQPOS),
    "velocity": int(mujoco.mjtWarning.mjWARN_BADQVEL),
    "acceleration": int(mujoco.mjtWarning.mjWARN_BADQACC),
}


class EnvironmentFault(RuntimeError):
    """The simulation failed: a non-finite observation or reward, or an unstable simulator."""


class ActionRepeat(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Repeats each action for `repeat` frames, or to the episode's end, and sums the rewards.

    Raises:
        ValueError: a reward is not a single number, or `step` returns no five parts.
    """

    def __init__(self, env: gym.Env[Any, Any], repeat: int) -> None:
        RecordConstructorArgs.__init__(self, repeat=repeat)
        super().__init__(env)
        self.repeat = repeat

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(self.repeat):
            # A copy, because some environments change the action that they get.
            answer = _parts("step", self.env.step(copy.copy(action)), 5)
            observation, reward, terminated, truncated, info = answer
            total += _number(reward)
            if terminated or truncated:
                break
        return observation, total, bool(terminated), bool(truncated), info


class Flat(gym.Wrapper[Array, Array, Any, Any], RecordConstructorArgs):
    """Flat float32 observations (D,) and float32 actions (A,), every value checked.

    Actions are numbers in [-1, 1], or one-hot choices side by side: see `actions.ActionSpec`.
    Dict observations are concatenated in the order of their space, which Gymnasium sorts by key.
    `max_episode_steps` is the time limit in decisions, None if unknown. Warns at the end of an
    episode of dimensions that float32 cannot carry.

    Raises:
        EnvironmentFault: non-finite observation or reward, or MuJoCo became unstable.
        ValueError: an action that is not valid, or an observation that does not fit its space.
        gymnasium.error.ResetNeeded: `step` before the first reset or after the episode's end.
    """

    def __init__(self, env: gym.Env[Any, Any], name: str, max_episode_steps: int | None) -> None:
        RecordConstructorArgs.__init__(self, name=name, max_episode_steps=max_episode_steps)
        super().__init__(env)
        self.name = name
        self.max_episode_steps = max_episode_steps
        flat = spaces.flatten_space(env.observation_space)
        assert isinstance(flat, spaces.Box)
        seen = env.observation_space
        self.parts, self.pictures, self.choices = parts_of(seen), layout_of(seen), choices_of(seen)
        # Of numbers beside pictures too: a flat observation has one dtype.
        dtype: Any = flat.dtype if self.pictures and flat.dtype == np.uint8 else np.float32
        with np.errstate(over="ignore"):  # a float64 bound beyond float32 becomes infinite
            low, high = flat.low.astype(dtype), flat.high.astype(dtype)
        self.observation_space = spaces.Box(low, high, dtype=dtype)
        self.action_spec = spec = ActionSpec.of(env.action_space)
        self.action_space: spaces.Space[Any] = ActionBox(spec)
        self.rescale = decoder(env.action_space)
        self._low = np.full(flat.shape, np.inf)  # of observations, before they are rounded
        self._high = -self._low
        self._steps = 0
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        self._steps, self._over = 0, False
        try:
            answer = self.env.reset(seed=seed, options=options)
        except _physics_errors() as error:
            raise self._fault(str(error)) from error
        warnings = self._mujoco_warnings()
        if warnings is not None:
            warnings[:] = 0  # MuJoCo counts since its last reset, which an environment may skip
        observation, info = _parts("reset", answer, 2)
        return self._flatten(observation), info

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        if self._over:
            raise gym.error.ResetNeeded(f"{self.name}: the episode is over, call reset first")
        self._check(action)
        self._steps += 1
        try:
            observation, reward, terminated, truncated, info = self.env.step(self.rescale(action))
        except _physics_errors() as error:
            raise self._fault(str(error)) from error
        warnings = self._mujoco_warnings()
        broken = [] if warnings is None else [k for k, i in _UNSTABLE.items() if warnings[i]]
        if broken:
            raise self._fault(f"MuJoCo became unstable (bad joint {', '.join(broken)})")
        flat = self._flatten(observation)
        reward = float(reward)
        if not np.isfinite(reward):
            raise self._fault(f"the reward is {reward}")
        self._over = terminated or truncated
        if self._over:
            warn_if_too_fine(self.name, self._low, self._high, stacklevel=2)
        return flat, reward, terminated, truncated, info

    def _flatten(self, observation: Any) -> Array:
        """A new array (D,): some environments return a buffer that they overwrite."""
        try:
            with np.errstate(over="ignore"):  # overflow gives inf, which is reported below
                joined: Any = spaces.flatten(self.env.observation_space, observation)
                flat: Array = joined.astype(self.observation_space.dtype)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.name}: its observation does not fit its observation_space: expected "
                f"{self.env.observation_space}, got {type(error).__name__}: {error}"
            ) from error
        if flat.shape != self.observation_space.shape:
            raise ValueError(
                f"{self.name}: its observation does not fit its observation_space "
                f"{self.env.observation_space}: expected {self.observation_space.shape} values, "
                f"got {flat.shape}"
            )
        if not np.isfinite(flat).all():
            bad = np.flatnonzero(~np.isfinite(flat)).tolist()
            raise self._fault(f"the observation is not finite at index {bad}")
        np.minimum(self._low, joined, out=self._low)
        np.maximum(self._high, joined, out=self._high)
        return flat

    def _check(self, action: Array) -> None:
        """Refuses actions out of range: MuJoCo would clip them silently."""
        shape = self.action_space.shape
        if np.shape(action) != shape:
            raise ValueError(f"{self.name}: expected an action of shape {shape}, got {action!r}")
        if not self.action_spec.valid(action):
            expected = self.action_spec.expected
            raise ValueError(f"{self.name}: expected as action {expected}, got {action!r}")

    def _mujoco_warnings(self) -> NDArray[np.int32] | None:
        """MuJoCo's warning counters, if the environment has MjData as `data`."""
        data = getattr(self.unwrapped, "data", None)
        return data.warning.number if isinstance(data, mujoco.MjData) else None

    def _fault(self, what: str) -> EnvironmentFault:
        self._over = True
        return EnvironmentFault(
            f"{self.name}, step {self._steps} of the episode: {what}. Smaller actions, a smaller "
            "simulator timestep or a smaller action_repeat usually help."
        )


def _parts(method: str, answer: Any, count: int) -> tuple[Any, ...]:
    """What `reset` or `step` returned. Raises ValueError if it is no tuple of that many parts."""
    if isinstance(answer, tuple | list) and len(answer) == count:
        return tuple(answer)
    shown = f"{len(answer)} parts" if isinstance(answer, tuple | list) else type(answer).__name__
    expected = "observation, reward, terminated, truncated, info"
    if method == "reset":
        expected = "observation, info"
    raise ValueError(
        f"expected `{method}` of the environment to return ({expected}), as Gymnasium's do, got "
        f"{shown}"
    )


def _number(reward: Any) -> float:
    try:
        if np.ndim(reward) == 0 and not isinstance(reward, str | bytes):
            return float(reward)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"expected a single number as reward, got {reward!r}")


def _physics_errors() -> tuple[type[Exception], ...]:
    """What simulators raise when they diverge; dm_control's error only if it is imported."""
    control = sys.modules.get("dm_control.rl.control")
    return (mujoco.FatalError, *((control.PhysicsError,) if control else ()))
