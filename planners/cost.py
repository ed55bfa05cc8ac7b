"""What a planner minimises: the only thing it sees of models, values or tasks.

Shapes: B plans, N candidate sequences, M latent samples, T horizon, A action, Z latent dimension.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class TrajectoryCost(Protocol):
    """Predicted cost of action sequences; lower is better."""

    def __call__(self, actions: Tensor, noise: Tensor, /) -> Tensor:
        """Costs every candidate under every latent sample.

        Args:
            actions: (B, N, T, A) sequences in [-1, 1], the space that is executed.
            noise: (M, T, Z) standard normal, from which the model makes its latent z(t). It is the
                same for all candidates, which are thus compared under the same noise. Z may be 0.

        Returns:
            (B, N, M) costs. A non-finite one counts as +inf.
        """
        ...


@dataclass(frozen=True)
class ItemisedCost:
    """A cost that can tell what it is made of, for plans that are to be explained.

    Attributes:
        total: The cost that is minimised.
        items: Takes the same; returns (B, N, M, T+1), the cost of each step and, last, of what
            comes after the horizon. They sum up to the total.
    """

    total: TrajectoryCost
    items: TrajectoryCost

    def __call__(self, actions: Tensor, noise: Tensor, /) -> Tensor:
        """See `TrajectoryCost`."""
        return self.total(actions, noise)
