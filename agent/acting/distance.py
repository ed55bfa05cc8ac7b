"""How far an imagined trajectory is from a goal, counted in steps.

Shapes: B plans, H embedding, T horizon, R imagined rows, N steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from worldplan.agent.models.networks import widest
from worldplan.agent.models.world_model import ImaginedTrajectory

_LEAST = 0.1  # of the mean over directions: those in which nothing moves are noise


def ruler(moves: Tensor) -> Tensor:
    """(H, H): differences of embeddings are counted in steps once they are multiplied by it.

    An embedding spreads what it was told to spread: with VICReg all decorrelated directions alike,
    with InfoNCE all moments. It need not be far for a body to go. The length of a direction is
    here what a step moves in it, at its root mean square. For embeddings whose directions are
    eigenfunctions of the walk that the data are of, the square of this distance is the walk's
    commute time but for a constant (Fouss et al. 2007, https://doi.org/10.1109/TKDE.2007.46).

    The covariance of moves is not inverted alone but with a tenth of its mean variance added in
    all directions: where an embedding hardly ever moves, nothing is learned of what moves it.

    Args:
        moves: (N, H), of embeddings in one step each.

    Returns:
        A triangular root, in units in which the mean square of a step's length is 1 at most.
    """
    moves = moves.to(widest(moves.device))
    H = moves.shape[-1]
    covariance = moves.T @ moves / len(moves)
    mean = covariance.trace() / H
    if mean < 1e-12:  # all embeddings are the same
        return torch.eye(H, device=moves.device)
    padded = covariance + _LEAST * mean * torch.eye(H, device=moves.device, dtype=moves.dtype)
    root: Tensor = torch.linalg.cholesky(padded * H)
    return root.inverse().T.float().contiguous()


@dataclass(frozen=True, eq=False)
class GoalDistance:
    """Minus the squared distance to a goal's embedding, summed over the horizon.

    Summed, not at the end alone: a plan that arrives early is better than one that arrives late
    (97% against 89% of two-room episodes by EB-JEPA: Terver et al. 2026,
    https://arxiv.org/abs/2602.03604).
    """

    goal: Tensor  # (B, H), or (1, H) for all plans
    ruler: Tensor  # (H, H); the identity: distances of embeddings as they are
    unit: ClassVar[None] = None
    caution: ClassVar[None] = None

    @property
    def exploring(self) -> GoalDistance:
        return self

    def __call__(self, imagined: ImaginedTrajectory) -> Tensor:
        return -self._squares(imagined).sum((0, 3)).view(-1)

    def items(self, imagined: ImaginedTrajectory) -> Tensor:
        items = -self._squares(imagined).sum(3).flatten(1)
        return torch.cat([items, torch.zeros_like(items[:1])])

    def _squares(self, imagined: ImaginedTrajectory) -> Tensor:
        """(T, B, R/B, H): the rows of one plan stand together."""
        T, _, H = imagined.h[1:].shape
        reached = imagined.h[1:].view(T, len(self.goal), -1, H)
        return ((reached - self.goal[:, None]) @ self.ruler).square()
