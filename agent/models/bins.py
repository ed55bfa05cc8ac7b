"""Observations as tokens: each dimension is divided into bins that are adapted to the data.

Shapes: ... any leading shape, B batch, D observation, K bins, N observations in memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldplan.agent.models.networks import Normaliser


class Bins(Normaliser):
    """A normaliser that also divides normalised values into K bins per dimension.

    Each edge is the mean of two edges: of bins with equal counts (quantiles) and of bins with equal
    widths. So bins are narrow where data are dense, but at least half as wide as equal bins, even
    if a value repeats. Quantiles are those of every n-th observation since the start; n is doubled
    whenever N of them are in memory. Values outside the observed range are in the outermost bins.
    """

    low: Tensor
    high: Tensor
    memory: Tensor
    stride: Tensor
    edges: Tensor

    def __init__(self, size: int, bins: int, clip: float = 10.0, memory: int = 1024) -> None:
        super().__init__(size, clip)
        self.bins = bins
        none_yet = torch.full((size,), torch.finfo(torch.float32).max)
        self.register_buffer("low", none_yet)
        self.register_buffer("high", -none_yet)
        self.register_buffer("memory", torch.zeros(memory, size))
        self.register_buffer("stride", torch.ones((), dtype=torch.int64))
        edges = torch.linspace(-clip, clip, bins + 1).expand(size, -1).clone()
        self.register_buffer("edges", edges)  # (D, K+1), of normalised values

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Adds observations (B, D) to the statistics and recomputes the edges."""
        first = int(self.count)
        super().update(x)
        for part in torch.split(x, len(self.memory) // 2):
            self._remember(part, first)
            first += len(part)
        self.low.copy_(torch.minimum(self.low, x.amin(0)))
        self.high.copy_(torch.maximum(self.high, x.amax(0)))
        quantiles = torch.linspace(0, 1, self.bins + 1, dtype=self.memory.dtype, device=x.device)
        remembered = self.memory[: -(-first // int(self.stride))]
        equal_count = torch.quantile(remembered, quantiles, dim=0).T
        # A dimension that has been constant so far also has bins, around its value.
        middle = (self.high + self.low) / 2
        half = torch.maximum(self.high - self.low, 1e-3 * self.scale) / 2
        equal_width = middle.unsqueeze(-1) + half.unsqueeze(-1) * (2 * quantiles - 1)
        edges = (equal_count + equal_width) / 2
        self.edges.copy_((edges - self.shift.unsqueeze(-1)) / self.scale.unsqueeze(-1))

    def _remember(self, x: Tensor, first: int) -> None:
        """Keeps every stride-th of the observations x (B, D), which are numbered from `first`."""
        number = torch.arange(first, first + len(x), device=x.device)
        size = len(self.memory)
        if first + len(x) > size * self.stride:
            self.memory[: size // 2] = self.memory[::2].clone()
            self.stride *= 2
        kept = number % self.stride == 0
        self.memory[number[kept] // self.stride] = x[kept].to(self.memory.dtype)

    def tokens(self, h: Tensor) -> Tensor:
        """Tokens (..., D), int64 in 0..K-1, of normalised values h (..., D)."""
        return (h.unsqueeze(-1) >= self.edges[:, 1:-1]).sum(-1)

    def values(self, tokens: Tensor, fraction: Tensor) -> Tensor:
        """Normalised values (..., D), at a fraction (..., D) in [0, 1] of their bins' width."""
        edges = self.edges.expand(*tokens.shape, -1)
        low = edges.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        high = edges.gather(-1, tokens.unsqueeze(-1) + 1).squeeze(-1)
        return torch.lerp(low, high, fraction)
