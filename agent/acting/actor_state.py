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
    promise: Promise  # where plans are for the learned return
    goal: Tensor | None = None  # (B, D) the observations to be reached, where the task sets them
    greedy: bool = False  # the first environment's episode is one in which nothing is explored
    elites: bool = False  # it is one in which the plans that explore are elites
    begins: bool = True  # of which kind it is has not been drawn yet; known without asking a GPU

    def begin(self, mask: Tensor, goal: Tensor | None = None) -> ActorState:
        """Episodes begin in the environments in mask (B,): their past is forgotten.

        Args:
            goal: (B, D) of all environments from now on.
        """
        begins = self.begins or bool(mask[0])
        mask = mask.to(self.valid.device)
        goal = None if goal is None else goal.to(self.valid.device)
        return replace(
            self,
            plan=self.plan.reset(mask),
            valid=self.valid & ~mask[:, None],
            goal=goal,
            begins=begins,
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

    def explore(self, correlation: float, generator: torch.Generator) -> ActorState:
        """The next exploration noise: standard normal, correlated with the last one.

        An autoregressive process of order one, AR(1), with a time constant of about
        1 / (1 - correlation) decisions.
        """
        fresh = torch.randn(self.noise.shape, generator=generator, device=self.noise.device)
        kept = correlation * self.noise
        return replace(self, noise=kept + math.sqrt(1 - correlation**2) * fresh)

    def draw_kind(self, greedy: float, elites: float, generator: torch.Generator) -> ActorState:
        """By these shares the kind of an episode that `begins` is drawn."""

        def happens(share: float) -> bool:
            if share in (0, 1):  # no random number: runs of one kind are what they were
                return share == 1
            return bool(torch.rand((), generator=generator, device=self.noise.device) < share)

        return replace(self, greedy=happens(greedy), elites=happens(elites), begins=False)

    def filter(self, model: Model, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, H) and state (B, S) now, from the last `context` observations."""
        h = model.encode(observation)
        if model.context == 1:
            return h, model.initial_state(h)
        seen = torch.cat([model.encode(self.observations), h[:, None]], 1)
        return h, filter_context(model, seen, self.actions, self.valid)
