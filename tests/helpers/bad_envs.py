"""Environments that misbehave. Importing registers them, as with a user's module."""

import math
import os
import signal
import time

import gymnasium as gym
import numpy as np

from tests.helpers.toy_envs import Point, Step


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
