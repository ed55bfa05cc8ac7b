"""Small environments for the tests; importing registers them, as a user's module would."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class Point(gym.Env[np.ndarray, np.ndarray]):
    """A mass on a line, pushed towards 0; falls off at |x| > 2.

    `limit` is its own time limit in steps. `fault_at` makes the observation NaN at that step.
    """

    def __init__(self, limit: int = 25, fault_at: int | None = None) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,))
        self.action_space = spaces.Box(-1.0, 1.0, (1,))
        self.limit, self.fault_at = limit, fault_at

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        self.x = self.np_random.uniform(-1, 1, 2) * (1.0, 0.1)
        return self.x.astype(np.float32), {}

    def step(self, action: np.ndarray) -> Step:
        self.t += 1
        position, speed = self.x
        speed = 0.9 * speed + 0.2 * float(action[0])
        self.x = np.array([position + speed, speed])
        observation = self.x.astype(np.float32)
        if self.t == self.fault_at:
            observation[0] = np.nan
        fallen = bool(abs(self.x[0]) > 2)
        return observation, float(1 - abs(self.x[0])), fallen, self.t >= self.limit, {}


gym.register("ToyPoint-v0", entry_point="toy_envs:Point")
