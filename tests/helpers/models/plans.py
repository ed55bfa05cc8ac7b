"""Planners built from a few settings, a cost that records its arguments, and one plan."""

from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from worldplan.planners import (
    ActionSpace,
    Box,
    Plan,
    Planner,
    PlannerConfigUnion,
    PlanNoise,
    PlanState,
    make_planner,
)

CONFIG: TypeAdapter[Any] = TypeAdapter(PlannerConfigUnion)


def build(kind: str, actions: int | ActionSpace = 2, /, **settings: Any) -> Planner[Any]:
    """A planner over an action space, or over vectors of that many numbers."""
    space = Box(actions) if isinstance(actions, int) else actions
    return make_planner(CONFIG.validate_python({"kind": kind, **settings}), space)


def draw(planner: Planner[Any], batch: int = 1, seed: int = 0) -> PlanNoise:
    return planner.draw_noise(batch, 1, torch.Generator().manual_seed(seed))


class Watched:
    """Squared distance to `goal`. It records the actions that it was called with."""

    def __init__(self, goal: float = 0.3) -> None:
        self.goal = goal
        self.seen: list[Tensor] = []

    def __call__(self, actions: Tensor, noise: Tensor) -> Tensor:
        self.seen.append(actions.detach())
        return (actions - self.goal).square().sum((2, 3))[..., None].expand(-1, -1, len(noise))


def run(
    planner: Planner[Any],
    cost: Watched,
    state: PlanState | None = None,
    proposals: Tensor | None = None,
    batch: int = 1,
    seed: int = 0,
) -> tuple[Plan, PlanState]:
    state = state or planner.initial_state(batch)
    return planner.plan(cost, state, draw(planner, batch, seed=seed), proposals)


def has(actions: Tensor, sequence: Tensor) -> bool:
    """Whether a sequence (T, A) is among candidates (B, N, T, A) of the first plan."""
    return bool((actions[0] - sequence).abs().amax((1, 2)).min() < 1e-6)
