"""Environments that misbehave. Importing registers them, as with a user's module."""

import math
import os
import signal
import time
import warnings
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np

if TYPE_CHECKING:
    from tests.helpers.toy_envs import Point, Step
else:  # as a user's module beside another: a worker process knows this folder alone
    from toy_envs import Point, Step


class Bad(Point):
    """A point whose steps are counted over all episodes; `limit` 0 is none.

    At step `raises_at` it raises a ValueError. At step `hangs_at` it sends the process a signal,
    and hangs.
    """

    steps = 0

    def __init__(
        self, limit: int = 25, raises_at: int | None = None, hangs_at: int | None = None
    ) -> None:
        super().__init__(limit or 10**9)
        self.raises_at, self.hangs_at = raises_at, hangs_at

    def step(self, action: np.ndarray) -> Step:
        self.steps += 1
        if self.steps == self.raises_at:
            math.sqrt(-1)
        if self.steps == self.hangs_at:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        observation, reward, _, truncated, info = super().step(action)
        self.x = self.x.clip(-1.5, 1.5)  # it never falls
        return observation, reward, False, truncated, info


gym.register("ToyBad-v0", entry_point="bad_envs:Bad")


class Broken(Exception):
    """With more arguments than it keeps, as some simulators' errors."""

    def __init__(self, part: str, code: int) -> None:
        super().__init__(f"{part} broke with {code}")
        self.part, self.code = part, code


class Moody(Point):
    """A point that never ends, and misbehaves where the action says so."""

    def step(self, action: np.ndarray) -> Step:
        match round(float(action[0]), 1):
            case 0.2:
                raise Broken("the joint", 7)
            case 0.3:
                os.kill(os.getpid(), signal.SIGKILL)
            case 0.4:
                time.sleep(60)
            case 0.5:
                warnings.warn("it is getting hot", stacklevel=1)
            case 0.6:
                print("said by the environment")
            case 0.7:
                raise SystemExit("enough")
        return np.zeros(2, np.float32), 0.0, False, False, {"pid": os.getpid()}


gym.register("ToyMoody-v0", entry_point="bad_envs:Moody")
