"""What a planner minimises. A planner sees nothing else of models, values or tasks.

Shapes: B plans, N candidate sequences, M latent samples, T horizon, A action, Z latent dimension.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class TrajectoryCost(Protocol):
    """Predicted cost of action sequences; lower is better."""

    def __call__(self, actions: Tensor, noise: Tensor, /) -> Tensor:
        """Costs of every candidate under every latent sample.

        Args:
            actions: (B, N, T, A) sequences, executable as they are: numbers in [-1, 1], or one-hot
                choices side by side.
            noise: (M, T, Z) standard normal, from which the model makes its latent z(t). All
                candidates are compared under the same noise. Z may be 0.

        Returns:
            (B, N, M) costs. Non-finite costs count as +inf.
        """
        ...


@dataclass(frozen=True)
class ItemisedCost:
    """A cost that can be split into the costs of single steps, to explain a plan.

    Attributes:
        total: The cost that is minimised.
        items: Takes the same arguments and returns (B, N, M, T+1): the cost of each step, and last
            the cost after the horizon. They sum to the total.
    """

    total: TrajectoryCost
    items: TrajectoryCost

    def __call__(self, actions: Tensor, noise: Tensor, /) -> Tensor:
        """See `TrajectoryCost`."""
        return self.total(actions, noise)
