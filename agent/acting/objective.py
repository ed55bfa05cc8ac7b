"""What plans are for: the learned return, a goal that is an observation, or a user's cost.

Shapes: B plans, D observation, H embedding, T horizon, R imagined rows, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worldplan.agent.acting.imagination import Imagination

Objective = Callable[[Imagination], Tensor]  # (R,), of imagined rows; the more the better


@dataclass(frozen=True)
class Purpose:
    """By default the learned return."""

    goal: Tensor | None = None  # (B, D) or (1, D)
    objective: Objective | None = None  # comes before a goal

    def check(self, actor: str, batch: int, learned: bool) -> None:
        """Raises ValueError if the actor has nothing to act for, or not one goal a plan.

        Args:
            learned: whether reward, value and policy were.
        """
        given = self.goal is not None or self.objective is not None
        if not learned and (actor == "policy" or (actor == "planner" and not given)):
            raise ValueError(
                f"the {actor} of an agent that learned no reward has nothing to act for; expected "
                "the planner after agent.aim(goal) or agent.minimise(cost, decode)"
            )
        if self.goal is not None and len(self.goal) not in (1, batch):
            raise ValueError(f"expected one goal, or one for each of {batch}, got {len(self.goal)}")


def decoded(cost: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> Objective:
    """Minus the sum over the horizon of a cost of decoded observations; see `Agent.minimise`."""

    def objective(future: Imagination) -> Tensor:
        x = decode(future.features[1:])
        each = cost(x)
        if each.shape != x.shape[:-1]:
            raise ValueError(
                f"the cost must return (T, R) = {tuple(x.shape[:-1])}, not {tuple(each.shape)}"
            )
        return -each.sum(0)

    return objective


def as_observation(given: npt.ArrayLike, width: int) -> Tensor:
    """One observation (D,) or a batch (B, D).

    Raises:
        ValueError: another shape, or a number that is not finite.
    """
    x = torch.as_tensor(np.asarray(given, dtype=np.float32))
    if x.ndim not in (1, 2) or x.shape[-1] != width:
        raise ValueError(
            f"expected an observation of shape ({width},) or (batch, {width}), got {tuple(x.shape)}"
        )
    if not torch.isfinite(x).all():
        raise ValueError("expected a finite observation, got NaN or infinity in it")
    return x
