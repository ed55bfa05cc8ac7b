"""Environments whose observations are kept, and where bodies are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldplan.envs import SyncVectorEnv
from worldplan.envs.actions import Array
from worldplan.envs.physics import physics_of
from worldplan.envs.vector.vector_env import Mask, Seeds


class Watched(SyncVectorEnv):
    """Since the reset: `seen`, all observations (B, D), and `places`, MuJoCo's first two positions
    (B, 2)."""

    def reset(self, seeds: Seeds, mask: Mask | None = None) -> Array:
        self.seen, self.places = [super().reset(seeds, mask)], [self._place()]
        return self.seen[0]

    def step(self, actions: Array, active: Mask | None = None) -> tuple[Array, Array, Mask, Mask]:
        came = super().step(actions, active)
        self.seen.append(came[0])
        self.places.append(self._place())
        return came

    def _place(self) -> NDArray[np.float64]:
        found = [physics_of(env) for env in self._envs]
        return np.array([known[1].qpos[:2] for known in found if known is not None])
