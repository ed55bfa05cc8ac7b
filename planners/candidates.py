"""Action sequences and their costs.

Shapes: B plans, N candidate sequences, K selected ones, M latent samples, T horizon, A action.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """Evaluated action sequences.

    Attributes:
        actions: (B, N, T, A), executable.
        futures: (B, N, M) cost under each latent sample, finite or +inf.
        costs: (B, N) the same, reduced by the risk measure.
        gradient: (B, N, T, A) of the costs with respect to the actions, if the planner
            `differentiates`.
    """

    actions: Tensor
    futures: Tensor
    costs: Tensor
    gradient: Tensor | None = None

    def split(self, count: int) -> tuple["Candidates", "Candidates | None"]:
        """The first `count` candidates, and the others if there are any."""
        if count == self.costs.shape[1]:
            return self, None
        first, others = slice(count), slice(count, None)
        return (
            Candidates(self.actions[:, first], self.futures[:, first], self.costs[:, first]),
            Candidates(self.actions[:, others], self.futures[:, others], self.costs[:, others]),
        )

    def join(self, other: "Candidates | None") -> "Candidates":
        """These candidates, followed by `other`."""
        if other is None:
            return self
        return Candidates(
            torch.cat([self.actions, other.actions], 1),
            torch.cat([self.futures, other.futures], 1),
            torch.cat([self.costs, other.costs], 1),
        )

    def pick(self, index: Tensor) -> "Candidates":
        """The candidates at index (B, K)."""
        (_, _, horizon, width), futures = self.actions.shape, self.futures.shape[2]
        return Candidates(
            self.actions.gather(1, index[..., None, None].expand(-1, -1, horizon, width)),
            self.futures.gather(1, index[..., None].expand(-1, -1, futures)),
            self.costs.gather(1, index),
        )

    def best(self, count: int) -> "Candidates":
        """The `count` candidates of lowest cost, best first."""
        return self.pick(self.costs.topk(count, dim=1, largest=False).indices)
