"""Goal environments, as those of gymnasium-robotics, for a planner that aims at an observation.

Shapes: D observation, G goal.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

_KEYS = {"observation", "achieved_goal", "desired_goal"}


class DesiredGoal(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """A task of which the desired goal is no part of the observation, but is to be reached.

    `goal_observation` has the desired goal in place of the achieved one, also where that stands in
    the task's own `observation`, and NaN elsewhere: the task does not say what is wanted there. As
    at the start is no answer: the fingers of a Fetch robot are open there and never again. (It is
    that of parts which hold no fractions, and so no NaN.)

    Raises:
        ValueError: the observation has other parts than a goal environment's.
    """

    def __init__(self, env: gym.Env[Any, Any], name: str) -> None:
        RecordConstructorArgs.__init__(self, name=name)
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Dict) or not space.keys() >= _KEYS:
            raise ValueError(
                f"{name!r}: env.aim is for tasks that observe a Dict of "
                f"{', '.join(sorted(_KEYS))}, as gymnasium-robotics has them, got {space}"
            )
        kept = {key: part for key, part in space.items() if key != "desired_goal"}
        self._kept = spaces.Dict(kept)
        self.observation_space = self._kept
        self._first: dict[str, Any] = {}
        self._desired: Any = None

    @property
    def goal_observation(self) -> NDArray[Any]:
        """(D,) as `Flat` flattens observations; zeros before the first reset."""
        if not self._first:
            return np.zeros(spaces.flatdim(self._kept))
        achieved = np.ravel(self._first["achieved_goal"])
        unsaid = {
            key: np.full(part.shape, np.nan) if part.dtype.kind == "f" else part.copy()
            for key, part in self._first.items()
        }
        first, own = (u["observation"].reshape(-1) for u in (self._first, unsaid))
        for start in range(own.size - achieved.size + 1):
            if np.array_equal(first[start : start + achieved.size], achieved):
                own[start : start + achieved.size] = np.ravel(self._desired)
                break
        found: Any = spaces.flatten(self._kept, {**unsaid, "achieved_goal": self._desired})
        return np.asarray(found)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._first = self._seen(observation)
        return self._first, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: Any) -> dict[str, Any]:
        """The observation without the desired goal, which is kept."""
        self._desired = np.array(observation["desired_goal"])
        return {key: np.array(observation[key]) for key in self._kept}
