"""Environments whose observations are kept."""

from __future__ import annotations

from worldplan.envs import VectorEnv
from worldplan.envs.actions import Array
from worldplan.envs.vector import Mask, Seeds


class Watched(VectorEnv):
    """`seen` holds all observations (B, D) since the reset."""

    def reset(self, seeds: Seeds, mask: Mask | None = None) -> Array:
        self.seen = [super().reset(seeds, mask)]
        return self.seen[0]

    def step(self, actions: Array, active: Mask | None = None) -> tuple[Array, Array, Mask, Mask]:
        came = super().step(actions, active)
        self.seen.append(came[0])
        return came
