"""A zoo of environments that misbehave, each in its own way. Importing registers them.

`REFUSED` ones must end in one line; `LEARNS` ones are odd, but can be learned from.
"""

import os
import signal
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tests.helpers.toy_envs import Point


class Odd(Point):
    """A point with a time limit of 5 steps, which misbehaves as `how` says."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    made = 0

    def __init__(self, how: str, render_mode: str | None = None) -> None:
        super().__init__(10**9 if how.startswith("endless") else 5)
        self.how, self.render_mode = how, render_mode
        Odd.made += 1
        if how == "init raises":
            raise ValueError("cannot be made")
        self.buffer = np.zeros(2, np.float32)
        space = _OBSERVATIONS.get(how)
        self.observation_space = space if space is not None else self.observation_space
        space = _ACTIONS.get(how)
        self.action_space = space if space is not None else self.action_space
        if how == "spaces change":  # from one instance to the next
            self.observation_space = spaces.Box(-9, 9, (2 + Odd.made % 2,))
        if how == "bounds change":
            self.action_space = spaces.Box(-1 - Odd.made % 2, 2.0, (1,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = super().reset(seed=seed)
        if self.how == "reset raises":
            raise ValueError("no reset\ntoday")
        if self.how == "reset hangs":  # and the user sends a signal
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        answers: dict[str, Any] = {
            "old reset": observation,
            "reset of three": (observation, info, 0),
            "reset None": None,
            "None info": (observation, None),
            "reset of 3 numbers": (np.zeros(3, np.float32), info),
            "NaN at reset": (observation * np.nan, info),
            "shares its buffer": (self._shared(observation), info),
            "returns lists": (observation.tolist(), info),
            "infinite at reset": (observation * np.inf, info),
        }
        with np.errstate(all="ignore"):
            return answers.get(self.how, (observation, info))

    def step(self, action: np.ndarray) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        how = self.how
        if how == "step raises" and self.t == 3:
            raise ZeroDivisionError("in step")
        if how == "step exits" and self.t == 3:
            sys.exit(0)
        if how == "changes the action":
            action *= np.nan
        if how == "endless":
            terminated, self.x = False, self.x.clip(-1.5, 1.5)
        rewards: dict[str, Any] = {
            "NaN reward": np.nan,
            "infinite reward": np.inf,
            "None reward": None,
            "text reward": "1",
            "reward of two": np.ones(2),
            "reward of one": np.array([reward]),
            "complex reward": 1j,
            "array reward": np.array(reward),
            "integer reward": 1,
            "huge reward": 1e300,
        }
        observations: dict[str, Any] = {
            "wrong shape": np.zeros(3, np.float32),
            "scalar": np.float32(0),
            "NaN": observation * np.nan,
            "None observation": None,
            "text observation": "ab",
            "float64": observation.astype(float),
            "returns lists": observation.tolist(),
            "shares its buffer": self._shared(observation),
            "integers": observation.astype(np.int64),
            "changing shape": np.zeros(2 + self.t, np.float32),
            "a row": observation[None],
            "objects": observation.astype(object),
            "beyond float32": observation.astype(float) * 1e300,
        }
        flags: dict[str, Any] = {
            "numpy flags": np.bool_(truncated),
            "integer flags": int(truncated),
        }
        answer = (
            observations.get(how, observation),
            rewards.get(how, reward),
            terminated,
            flags.get(how, truncated),
            None if how == "None info" else info,
        )
        return answer[:4] if how == "old step" else None if how == "step None" else answer

    def render(self) -> Any:
        if self.how == "render raises":
            raise KeyError("no picture")
        pictures: dict[str, Any] = {"render None": None, "render text": "picture"}
        return pictures.get(self.how, np.zeros((32, 32, 3), np.uint8))

    def close(self) -> None:
        if self.how == "close raises":
            raise OSError("cannot close")

    def _shared(self, observation: np.ndarray) -> np.ndarray:
        self.buffer[:] = observation
        return self.buffer


_OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "text space": spaces.Text(3),
    "no dimension": spaces.Box(-1, 1, (0,)),
    "graph space": spaces.Graph(spaces.Box(-1, 1, (2,)), None),
    "pictures": spaces.Box(0, 255, (32, 32, 3), np.uint8),
    "sequence space": spaces.Sequence(spaces.Box(-1, 1, (2,))),
}
_ACTIONS: dict[str, spaces.Space[Any]] = {
    "actions by name": spaces.Dict(move=spaces.Discrete(3)),
    "unbounded actions": spaces.Box(-np.inf, np.inf, (1,)),
    "huge actions": spaces.Box(-1e10, 1e10, (1,)),
    "actions of two axes": spaces.Box(-1, 1, (2, 2)),
    "whole actions": spaces.Box(-3, 3, (1,), np.int64),
}
REFUSED = (
    *_OBSERVATIONS, *_ACTIONS,
    *("reset raises", "old reset", "reset of three", "reset None", "reset of 3 numbers"),
    *("NaN at reset", "infinite at reset", "step raises", "old step", "step None", "NaN reward"),
    *("infinite reward", "None reward", "text reward", "reward of two", "complex reward", "NaN"),
    *("huge reward", "wrong shape", "scalar", "None observation", "text observation"),
    *("changing shape", "beyond float32", "spaces change", "bounds change", "init raises"),
    *("step exits", "render raises", "render None", "render text"),
)  # fmt: skip
LEARNS = (
    *("None info", "shares its buffer", "returns lists", "changes the action", "endless"),
    *("array reward", "integer reward", "float64", "integers", "numpy flags", "integer flags"),
)
EITHER = "reward of one", "a row", "objects", "close raises"

gym.register("Odd-v0", entry_point="attack.zoo:Odd")
