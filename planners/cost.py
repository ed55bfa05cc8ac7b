"""What a planner minimises: the only thing it sees of models, values or tasks.

Shapes: B plans, N candidate sequences, M latent samples, T horizon, A action, Z latent dimension.
"""

from typing import Protocol

from torch import Tensor


class TrajectoryCost(Protocol):
    """Predicted cost of action sequences; lower is better."""

    def __call__(self, actions: Tensor, noise: Tensor, /) -> Tensor:
        """Costs every candidate under every latent sample.

        Args:
            actions: (B, N, T, A) sequences in [-1, 1], the space that is executed.
            noise: (M, T, Z) standard normal, from which the model makes its latent z(t). It is the
                same for all candidates, which are thereby compared on the same luck. Z may be 0.

        Returns:
            (B, N, M) costs. A non-finite one counts as +inf.
        """
        ...
