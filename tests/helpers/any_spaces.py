"""An environment of any spaces. Importing registers it, as with a user's module."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SPACES: dict[str, gym.Space[Any]] = {
    "box": spaces.Box(-2.0, 2.0, (3,)),
    "discrete": spaces.Discrete(3, start=1),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(2),
    "grey": spaces.Box(0, 255, (16, 20), np.uint8),
    "colours first": spaces.Box(0, 255, (3, 16, 16), np.uint8),
    "camera and joints": spaces.Dict(
        camera=spaces.Box(0, 255, (16, 16, 3), np.uint8), joints=spaces.Box(-1.0, 1.0, (2,))
    ),
    "camera, choice and joints": spaces.Dict(
        camera=spaces.Box(0, 255, (16, 16, 3), np.uint8),
        choice=spaces.Discrete(3, start=1),
        joints=spaces.Box(-1.0, 1.0, (2,)),
    ),
    "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(-1.0, 1.0, (2,)))),
    "text": spaces.Text(3),
    "text beside numbers": spaces.Dict(text=spaces.Text(3), numbers=spaces.Box(-1.0, 1.0, (2,))),
    "graph": spaces.Graph(spaces.Box(-1.0, 1.0, (2,)), None),
    "sequence": spaces.Sequence(spaces.Box(-1.0, 1.0, (2,))),
}


class AnySpaces(gym.Env[Any, Any]):
    """Observations are drawn; the reward says whether the action is in its space."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, sees: str, acts: str, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = SPACES[sees], SPACES[acts]
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.t += 1
        return self.observation_space.sample(), float(np.sum(action)), False, self.t >= 6, {}

    def render(self) -> np.ndarray:
        return np.full((32, 32, 3), 20 * self.t, np.uint8)


gym.register("AnySpaces-v0", entry_point="any_spaces:AnySpaces")
