"""Observations as tokens: each dimension cut into bins that follow the data.

Shapes: ... any leading shape, B batch, D observation, K bins, N remembered observations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldplan.agent.models.networks import Normaliser


class Bins(Normaliser):
    """A normaliser that also cuts what it returns into K bins per dimension.

    An edge lies half way between where equally full bins and where equally wide ones would have
    it: bins are fine where the data are, and none is narrower than half an equally wide one,
    however often a value repeats. Quantiles are of every n-th observation since the start, n
    doubling whenever N are remembered. Beyond the range seen so far a value counts as the
    outermost bin.
    """

    low: Tensor
    high: Tensor
    memory: Tensor
    stride: Tensor
    edges: Tensor

    def __init__(self, size: int, bins: int, clip: float = 10.0, memory: int = 1024) -> None:
        super().__init__(size, clip)
        self.bins = bins
        self.register_buffer("low", torch.full((size,), torch.inf))
        self.register_buffer("high", torch.full((size,), -torch.inf))
        self.register_buffer("memory", torch.zeros(memory, size))
        self.register_buffer("stride", torch.ones((), dtype=torch.int64))
        edges = torch.linspace(-clip, clip, bins + 1).expand(size, -1).clone()
        self.register_buffer("edges", edges)  # (D, K+1), of normalised values

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Takes in observations (B, D)."""
        first = int(self.count)
        super().update(x)
        for part in torch.split(x, len(self.memory) // 2):
            self._remember(part, first)
            first += len(part)
        self.low.copy_(torch.minimum(self.low, x.amin(0)))
        self.high.copy_(torch.maximum(self.high, x.amax(0)))
        share = torch.linspace(0, 1, self.bins + 1, dtype=self.memory.dtype, device=x.device)
        remembered = self.memory[: -(-first // int(self.stride))]
        full = torch.quantile(remembered, share, dim=0).T
        # A dimension that has never moved gets bins too, around where it stands.
        middle, half = (self.high + self.low) / 2, (self.high - self.low).clamp(min=1e-3) / 2
        wide = middle.unsqueeze(-1) + half.unsqueeze(-1) * (2 * share - 1)
        edges = (full + wide) / 2
        self.edges.copy_((edges - self.shift.unsqueeze(-1)) / self.scale.unsqueeze(-1))

    def _remember(self, x: Tensor, first: int) -> None:
        """Keeps every stride-th of the observations x, numbered from `first`."""
        number = torch.arange(first, first + len(x), device=x.device)
        size = len(self.memory)
        if first + len(x) > size * self.stride:
            self.memory[: size // 2] = self.memory[::2].clone()
            self.stride *= 2
        kept = number % self.stride == 0
        self.memory[number[kept] // self.stride] = x[kept].to(self.memory.dtype)

    def tokens(self, h: Tensor) -> Tensor:
        """Bins (..., D), int64 in 0..K-1, of normalised values h (..., D)."""
        return (h.unsqueeze(-1) >= self.edges[:, 1:-1]).sum(-1)

    def values(self, tokens: Tensor, fraction: Tensor) -> Tensor:
        """Normalised values (..., D) that lie a fraction (..., D) of their bins' way up."""
        edges = self.edges.expand(*tokens.shape, -1)
        low = edges.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        high = edges.gather(-1, tokens.unsqueeze(-1) + 1).squeeze(-1)
        return torch.lerp(low, high, fraction)
