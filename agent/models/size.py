"""About how large networks are, to be known before they are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Numbers of a model, or of heads. The sum of two is that of both."""

    weights: int = 0
    hidden: int = 0  # that one step of one row computes
    kept: int = 0  # of one step of one row that a plan keeps to its end: h, features, z, outcomes
    context: int = 0  # observations filtered before a step

    def __add__(self, other: Size) -> Size:
        return Size(
            self.weights + other.weights,
            self.hidden + other.hidden,
            self.kept + other.kept,
            max(self.context, other.context),
        )

    def times(self, count: int) -> Size:
        """Of that many networks beside each other."""
        return Size(self.weights * count, self.hidden * count, self.kept * count, self.context)


def mlp_size(inputs: int, outputs: int, width: int, layers: int) -> Size:
    """Of an `MLP` with these sizes."""
    weights = inputs * width + (layers - 1) * width**2 + width * outputs
    return Size(weights, layers * width + outputs)
