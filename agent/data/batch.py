"""What a learner is given: windows of consecutive transitions.

Shapes: S windows, H transitions from a window's start on, D observation, A action.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from worldplan.envs import ObservationSpec


@dataclass(frozen=True)
class Batch:
    """S windows; the sampled transition has index `before`. Float32, except `valid` (bool).

    A position that is not valid lies before the start or after the end of the episode, or is not
    recorded yet. It repeats the nearest observation of the window; action, reward and terminated
    are 0.
    """

    observation: Tensor  # (S, before + H + 1, D)
    action: Tensor  # (S, before + H, A)
    reward: Tensor  # (S, before + H)
    terminated: Tensor  # (S, before + H), 1 where the task terminated, not where it was truncated
    valid: Tensor  # (S, before + H), whether the transition exists and is of the same episode

    @classmethod
    def blank(
        cls, windows: int, before: int, after: int, observation: ObservationSpec, action: int
    ) -> Batch:
        """Zeros, laid out as the windows that a replay samples."""
        steps = (windows, before + after)
        return cls(
            torch.zeros(
                *(windows, before + after + 1, *observation.shape),
                dtype=getattr(torch, observation.dtype),
            ),
            torch.zeros(*steps, action),
            torch.zeros(steps),
            torch.zeros(steps),
            torch.ones(steps, dtype=torch.bool),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`: see `sent`."""
        return Batch(*(sent(getattr(self, field.name), device) for field in fields(self)))


def sent(x: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on `device`, without waiting for what a GPU has still to do.

    CUDA fetches it from page-locked memory when its turn comes. So updates are only queued here,
    and the next batch is put together while they are made: no thread has to fetch it.
    """
    if torch.device(device).type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)
