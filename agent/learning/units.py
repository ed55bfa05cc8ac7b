"""The unit in which the heads hold rewards and values, so that small and large ones are learned.

Shapes: B rewards.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from worldplan.agent.data.batch import sent

# Between these sizes rewards are held as they are: smaller ones are lost between two bins of the
# two-hot code, and the returns of larger ones are beyond its last bin.
_LEAST, _MOST = 0.01, 200.0
_PATIENCE = 30.0  # the unit changes where it is wrong by more than this factor


class RewardUnit(nn.Module):
    """1 for rewards of ordinary size; else what is typical of them so far.

    That is the largest size of rewards that are all below 0.01, and the mean size of rewards
    whose mean is above 200; zeros do not count. It is kept with the weights.
    """

    value: Tensor  # () the unit
    largest: Tensor  # () size of a reward so far
    total: Tensor  # () of the sizes
    count: Tensor  # () of rewards that are not 0
    spread: Tensor  # () running range of values, from their 5% to their 95% quantile, in the unit
    ended: Tensor  # () bool, whether an episode has terminated so far

    def __init__(self) -> None:
        super().__init__()
        for name in ("value", "spread"):
            self.register_buffer(name, torch.ones(()))
        for name in ("largest", "total", "count"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer("ended", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def update(self, reward: Tensor) -> None:
        """Adds rewards (B,)."""
        size = sent(reward, self.total.device).to(self.total.dtype).abs()
        self.largest.copy_(torch.maximum(self.largest, size.max()))
        self.total += size.sum()
        self.count += (size > 0).sum()
        # In tensors throughout, so that a GPU need not be waited for.
        mean = self.total / self.count.clamp(min=1)
        typical = torch.where(mean > _MOST, mean, 1.0)
        typical = torch.where(self.largest < _LEAST, self.largest, typical)
        ratio = typical / self.value
        wrong = (self.largest > 0) & ((ratio <= 1 / _PATIENCE) | (ratio >= _PATIENCE))
        self.value.copy_(torch.where(wrong, typical, self.value))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self.named_buffers():  # of checkpoints from before there were units
            state.setdefault(prefix + name, buffer)
        super()._load_from_state_dict(state, prefix, *rest)
