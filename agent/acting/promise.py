"""Whether plans keep what they promise, and who acts where they do not.

A plan's score says what will be left once its first action is done. Where the value is overrated,
the next plan says that the same is left, and so does the one after it: the agent stands still, and
each plan promises to go. What plans fall short is summed. Where it has become too much the policy
acts for a while, from which the value came: it leaves many such places. Not where plans explore,
which was not tried (docs/experiments.md, fourteenth round).

Shapes: B episodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Promise:
    """What plans have said and how it came, of B episodes."""

    rest: Tensor  # (B,) what the last one said would be left after its first action
    owed: Tensor  # (B,) what plans fell short of that, discounted as it lies back
    turn: Tensor  # (B,) decisions that are left to the policy; whole numbers

    @classmethod
    def initial(cls, batch: int, device: torch.device | None = None) -> Promise:
        return cls(*torch.zeros(3, batch, device=device).unbind())

    def hear(
        self, score: Tensor, fresh: Tensor, discount: float, limit: Tensor, turn: int
    ) -> Promise:
        """After the next plan, of a score (B,); nothing was promised where it is fresh (B,).

        Args:
            limit: () of what may be owed before the policy gets its `turn` of decisions.
        """
        left = torch.where(fresh, 0.0, self.turn)
        # What plans said in the policy's turn is not what was done.
        planned = ~fresh & (left == 0)
        owed = torch.where(planned, discount * (self.owed + self.rest - score), 0.0)
        left = torch.where(owed > limit, float(turn), (left - 1).clamp(min=0))
        return Promise(self.rest, torch.where(left > 0, 0.0, owed), left)
