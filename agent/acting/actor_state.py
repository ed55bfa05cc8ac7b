"""What acting remembers from one step to the next.

Shapes: B environments, C = context - 1 remembered steps, D observation, A action,
H embedding, S state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldplan.agent.acting.promise import Promise
from worldplan.agent.models.world_model import Model, filter_context
from worldplan.planners import PlanState


@dataclass(frozen=True)
class ActorState:
    """All that acting remembers; goes into an actor and comes back out."""

    plan: PlanState
    observations: Tensor  # (B, C, D), oldest first
    actions: Tensor  # (B, C, A)
    valid: Tensor  # (B, C) bool, the step is of this episode
    noise: Tensor  # (B, A) standard normal, of exploration
    greedy: Tensor  # (B,) bool, nothing is explored in this episode
    promise: Promise  # where plans are for the learned return
    goal: Tensor | None = None  # (B, D) the observations to be reached, where the task sets them

    def begin(self, mask: Tensor, goal: Tensor | None = None) -> ActorState:
        """Episodes begin in the environments in mask (B,): their past is forgotten.

        Args:
            goal: (B, D) of all environments from now on.
        """
        mask = mask.to(self.valid.device)
        goal = None if goal is None else goal.to(self.valid.device)
        return replace(
            self, plan=self.plan.reset(mask), valid=self.valid & ~mask[:, None], goal=goal
        )

    def remember(self, observation: Tensor, action: Tensor) -> ActorState:
        """Adds an observation (B, D) and the action (B, A) taken on it; drops the oldest step."""
        if not self.valid.shape[1]:
            return self
        return replace(
            self,
            observations=torch.cat([self.observations[:, 1:], observation[:, None]], 1),
            actions=torch.cat([self.actions[:, 1:], action[:, None]], 1),
            valid=torch.cat([self.valid[:, 1:], torch.ones_like(self.valid[:, :1])], 1),
        )

    def explore(
        self, correlation: float, generator: torch.Generator, greedy: float = 0.0
    ) -> ActorState:
        """The next exploration noise: standard normal, correlated with the last one.

        An autoregressive process of order one, AR(1), with a time constant of about
        1 / (1 - correlation) decisions.

        Args:
            greedy: the share of episodes that have none; it is drawn as they begin.
        """
        fresh = torch.randn(self.noise.shape, generator=generator, device=self.noise.device)
        kept = correlation * self.noise
        state = replace(self, noise=kept + math.sqrt(1 - correlation**2) * fresh)
        if not greedy:
            return state
        drawn = torch.rand(self.greedy.shape, generator=generator, device=self.greedy.device)
        return replace(state, greedy=torch.where(self.plan.fresh, drawn < greedy, self.greedy))

    def filter(self, model: Model, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, H) and state (B, S) now, from the last `context` observations."""
        h = model.encode(observation)
        if model.context == 1:
            return h, model.initial_state(h)
        seen = torch.cat([model.encode(self.observations), h[:, None]], 1)
        return h, filter_context(model, seen, self.actions, self.valid)
