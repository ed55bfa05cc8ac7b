"""Losses of the heads, as pure functions of tensors.

Shapes: T steps, S sequences, ... any leading shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def window_returns(
    reward: Tensor, terminated: Tensor, valid: Tensor, bootstrap: Tensor, discount: float
) -> Tensor:
    """Return from each step to the end of its window, where the value takes over.

    Every step of the window bootstraps from the same last state, so a window costs one target
    evaluation and reward travels T steps an update. Truncation ends a window without ending
    the return: only `terminated` does that.

    Args:
        reward, terminated, valid: (T, S).
        bootstrap: value of the last valid state (S,).
    """
    returns, value = [], bootstrap
    for t in reversed(range(reward.shape[0])):
        value = torch.where(
            valid[t], reward[t] + discount * (1 - terminated[t].float()) * value, value
        )
        returns.append(value)
    return torch.stack(returns[::-1])


def continuation(logit: Tensor, terminated: Tensor) -> Tensor:
    """Binary cross-entropy (...) of the continue head; never told of truncation."""
    return F.binary_cross_entropy_with_logits(logit, 1 - terminated.float(), reduction="none")


def policy(value: Tensor, log_prob: Tensor, scale: Tensor, entropy: float) -> Tensor:
    """Loss (...) that climbs the value and keeps some entropy (Haarnoja et al. 2018; TD-MPC2).

    Args:
        value, log_prob: (...), of actions sampled from the policy.
        scale: (), the running spread of values, so that `entropy` means the same on any task.
    """
    return -value / scale + entropy * log_prob
