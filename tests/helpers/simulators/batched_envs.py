"""A simulator that steps a batch, in PyTorch alone. Importing registers it, as a user's module."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor


class Pendulums(gym.vector.VectorEnv[Tensor, Any, Tensor]):
    """Pendulums that are to be swung up, each with a time limit of its own: 5, 6, 7, ...

    Observation: cosine, sine and speed, the steps of the episode, a random name of it; as a
    dict of the first three and of the rest if `parts`. Falling fast ends an episode.
    """

    def __init__(
        self, num_envs: int = 1, mode: str = "SameStep", parts: bool = False, nan_at: int = 0
    ) -> None:
        self.num_envs, self.parts, self.nan_at = num_envs, parts, nan_at
        self.mode = AutoresetMode(mode)
        self.metadata = {"autoreset_mode": self.mode}
        seen = spaces.Box(-np.inf, np.inf, (5,))
        both: dict[str, spaces.Space[Any]] = {
            "pose": spaces.Box(-9, 9, (3,)),
            "count": spaces.Box(0, np.inf, (2,)),
        }
        self.single_observation_space = spaces.Dict(both) if parts else seen
        self.single_action_space = spaces.Box(-2.0, 2.0, (1,))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.limit = torch.arange(5, 5 + num_envs)
        self.state = torch.zeros(num_envs, 2)
        self.steps, self.episode = torch.zeros(2, num_envs, dtype=torch.int64)
        self.ended = torch.zeros(num_envs, dtype=torch.bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.generator = torch.Generator().manual_seed(seed)
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        self._begin(torch.from_numpy(mask))
        return self._see(), {}

    def step(self, actions: Any) -> tuple[Any, Tensor, Tensor, Tensor, dict[str, Any]]:
        begins = self.ended.clone()
        assert not (begins.any() and self.mode is AutoresetMode.DISABLED)
        angle, speed = self.state.T
        torque = torch.as_tensor(actions)[:, 0]
        speed = speed + 0.05 * (15 * angle.sin() + 3 * torque)
        self.state = torch.stack([angle + 0.05 * speed, speed], 1)
        self.steps += 1
        reward = angle.cos() - 0.001 * torque.square()
        terminated, truncated = speed.abs() > 8, self.steps >= self.limit
        infos: dict[str, Any] = {}
        if self.mode is AutoresetMode.NEXT_STEP and begins.any():
            self._begin(begins)
            terminated, truncated = terminated & ~begins, truncated & ~begins
            reward = reward * ~begins
        self.ended = terminated | truncated
        if self.mode is AutoresetMode.SAME_STEP and self.ended.any():
            infos = {"final_obs": self._see(), "_final_obs": self.ended}
            self._begin(self.ended)
        return self._see(), reward, terminated, truncated, infos

    def _begin(self, mask: Tensor) -> None:
        """New episodes where the mask is true."""
        fresh = torch.rand(self.num_envs, 2, generator=self.generator) * 2 - 1
        self.state = torch.where(mask[:, None], fresh * torch.tensor([math.pi, 1.0]), self.state)
        self.steps = torch.where(mask, 0, self.steps)
        name = torch.randint(10**6, (self.num_envs,), generator=self.generator)
        self.episode = torch.where(mask, name, self.episode)
        self.ended = self.ended & ~mask

    def _see(self) -> Any:
        angle, speed = self.state.T
        pose = torch.stack([angle.cos(), angle.sin(), speed], 1)
        if self.nan_at:
            pose[self.steps == self.nan_at] = torch.nan
        count = torch.stack([self.steps, self.episode], 1).float()
        return {"pose": pose, "count": count} if self.parts else torch.cat([pose, count], 1)


gym.register("ToyBatch-v0", vector_entry_point="simulators.batched_envs:Pendulums")
