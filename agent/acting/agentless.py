"""Who acts without an agent: a search with nothing to tell plans apart by, noise, chance.

Shapes: B environments, A action, L decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from worldplan.planners import ActionSpace, Plan, Planner, PlanState
from worldplan.planners.icem import colour


@dataclass(frozen=True)
class NoState:
    """Nothing is remembered."""

    def begin(self, mask: Tensor, goal: Tensor | None = None) -> NoState:
        return self


@dataclass(frozen=True)
class ConstantCostState:
    """What one plan leaves to the next."""

    plan: PlanState

    def begin(self, mask: Tensor, goal: Tensor | None = None) -> ConstantCostState:
        return ConstantCostState(self.plan.reset(mask))


class ConstantCostActor:
    """The same search with nothing to tell plans apart by: all cost the same.

    What chance makes of a search. Uniformly random actions are another baseline: they shake more
    than the mean of a search does, which alone changes returns.
    """

    def __init__(self, planner: Planner[Any], noise_dim: int) -> None:
        """`noise_dim` is the width of the latent noise of the model in whose place it plans."""
        self.planner, self.noise_dim = planner, noise_dim

    def initial(self, batch: int) -> ConstantCostState:
        return ConstantCostState(self.planner.initial_state(batch))

    def act(
        self, observation: Tensor, state: ConstantCostState, generator: torch.Generator
    ) -> tuple[Tensor, ConstantCostState, Plan | None]:
        noise = self.planner.draw_noise(len(observation), self.noise_dim, generator)
        plan, plan_state = self.planner.plan(_nothing, state.plan, noise)
        return plan.action, ConstantCostState(plan_state), plan


def _nothing(actions: Tensor, noise: Tensor) -> Tensor:
    """A cost (B, N, M) of 0, whose gradient is 0 too."""
    return (0 * actions).sum((2, 3))[..., None].expand(-1, -1, len(noise))


@dataclass(frozen=True)
class NoiseState:
    """The noise of an episode, drawn at its start."""

    drawn: Tensor | None = None  # (B, L, A)
    step: int = 0

    def begin(self, mask: Tensor, goal: Tensor | None = None) -> NoiseState:
        assert mask.all(), "all episodes begin at once"
        return NoiseState()


class NoiseActor:
    """Pink noise in time, clipped to what can be executed; no observation is read.

    It goes on in a direction for a while, and so comes further than white noise (Eberhard et al.
    2023, https://openreview.net/forum?id=hQ9V5QN27eS). Episodes have at most `length` decisions.
    """

    def __init__(self, actions: ActionSpace, length: int) -> None:
        self.actions, self.length = actions, length

    def initial(self, batch: int) -> NoiseState:
        return NoiseState()

    def act(
        self, observation: Tensor, state: NoiseState, generator: torch.Generator
    ) -> tuple[Tensor, NoiseState, Plan | None]:
        drawn = state.drawn
        if drawn is None:
            white = torch.randn(
                len(observation), self.length, self.actions.size, generator=generator
            )
            drawn = self.actions.executable(colour(white, beta=1.0))
        return drawn[:, state.step], replace(state, drawn=drawn, step=state.step + 1), None


class UniformActor:
    """Any action as likely as any other; needs no agent."""

    def __init__(self, actions: ActionSpace) -> None:
        self.actions = actions

    def initial(self, batch: int) -> NoState:
        return NoState()

    def act(
        self, observation: Tensor, state: NoState, generator: torch.Generator
    ) -> tuple[Tensor, NoState, Plan | None]:
        noise = torch.randn(len(observation), self.actions.size, generator=generator)
        return self.actions.random(noise), state, None
