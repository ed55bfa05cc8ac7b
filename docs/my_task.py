"""A task of your own: a mass on a line is pushed, and should stand in the middle."""

import gymnasium as gym
import numpy as np


class Slide(gym.Env):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))  # position and speed
    action_space = gym.spaces.Box(-1.0, 1.0, (1,))  # force

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1.0, 1.0, 2)
        return self.state.astype(np.float32), {}

    def step(self, action):
        position, speed = self.state
        speed = 0.9 * speed + 0.1 * float(action[0])
        self.state = np.array([position + speed, speed])
        reward = 1.0 - abs(self.state[0])
        fallen = bool(abs(self.state[0]) > 3.0)
        return self.state.astype(np.float32), reward, fallen, False, {}


gym.register("Slide-v0", Slide, max_episode_steps=100)
