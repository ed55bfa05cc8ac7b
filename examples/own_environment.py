"""A task of your own: any Gymnasium environment, given as a function that makes it."""

from typing import Any

import gymnasium as gym
import numpy as np
from small import EPISODES, settings

import worldplan


class Slide(gym.Env[Any, Any]):
    """A mass on a line is pushed, and should stand in the middle."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))  # position and speed
    action_space = gym.spaces.Box(-2.0, 2.0, (1,))  # force

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1.0, 1.0, 2)
        return self.state.astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        position, speed = self.state
        speed = 0.9 * speed + 0.05 * float(action[0])
        self.state = np.array([position + speed, speed])
        distance = float(abs(self.state[0]))
        return self.state.astype(np.float32), 1.0 - distance, distance > 3.0, False, {}


def slide() -> gym.Env[Any, Any]:
    return gym.wrappers.TimeLimit(Slide(), 100)


agent = worldplan.train(slide, **settings(steps=3000))
print("mean return:", agent.evaluate(episodes=EPISODES).summary()["mean"])

# The environment itself, without worldplan around it: actions as it takes them.
env = slide()
observation, _ = env.reset(seed=0)
for _ in range(3):
    action = agent.act(observation, scaled=True)
    observation, reward, *_ = env.step(action)
    print(f"position {observation[0]:.2f}  force {action[0]:.2f}  reward {reward:.2f}")
