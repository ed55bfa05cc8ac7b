"""Risk measures: they reduce the M costs of a candidate, one per latent sample, to one cost.

A measure is its own config. In YAML, `risk: mean` or `risk: {kind: cvar, alpha: 0.2}`.

Shapes: M latent samples, T horizon, Z latent dimension, `...` any leading shape.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from worldplan.planners.kinds import by_kind


class RiskMeasure(BaseModel, ABC):
    """Reduces the costs of a candidate under M latent samples to one cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: str

    @abstractmethod
    def __call__(self, costs: Tensor, noise: Tensor) -> Tensor:
        """Reduces costs (..., M), finite or +inf, under noise (M, T, Z) to (...)."""


class Mean(RiskMeasure):
    """Expected cost."""

    kind: Literal["mean"] = "mean"

    def __call__(self, costs: Tensor, noise: Tensor) -> Tensor:
        return costs.mean(-1)


class CVaR(RiskMeasure):
    """Conditional value at risk: mean of the worst fraction `alpha` of the costs.

    Rockafellar & Uryasev, 2000, "Optimization of Conditional Value-at-Risk".
    """

    kind: Literal["cvar"] = "cvar"
    alpha: float = Field(default=0.2, gt=0.0, le=1.0, description="fraction of the costs")

    def __call__(self, costs: Tensor, noise: Tensor) -> Tensor:
        mass = self.alpha * costs.shape[-1]
        count = math.ceil(mass)
        worst = costs.topk(count, dim=-1).values
        # The last cost is weighted by the fraction of it that lies in the tail: exact for any M.
        return (worst[..., :-1].sum(-1) + (mass - count + 1) * worst[..., -1]) / mass


class Worst(RiskMeasure):
    """Highest cost."""

    kind: Literal["worst"] = "worst"

    def __call__(self, costs: Tensor, noise: Tensor) -> Tensor:
        return costs.amax(-1)


class Best(RiskMeasure):
    """Lowest cost."""

    kind: Literal["best"] = "best"

    def __call__(self, costs: Tensor, noise: Tensor) -> Tensor:
        return costs.amin(-1)


class Entropic(RiskMeasure):
    """log(mean(exp(beta cost))) / beta: the mean as beta -> 0, the highest as beta -> inf."""

    kind: Literal["entropic"] = "entropic"
    beta: float = Field(default=1.0, gt=0.0, le=1e6, description="aversion to risk")

    def __call__(self, costs: Tensor, noise: Tensor) -> Tensor:
        return ((self.beta * costs).logsumexp(-1) - math.log(costs.shape[-1])) / self.beta


class Adversarial(RiskMeasure):
    """Highest cost over the samples of z, less `weight` times the surprise of z."""

    kind: Literal["adversarial"] = "adversarial"
    weight: float = Field(default=1.0, ge=0.0, le=1e6, description="of surprise")

    def __call__(self, costs: Tensor, noise: Tensor) -> Tensor:
        return (costs - self.weight * surprise(noise)).amax(-1)


class Optimistic(RiskMeasure):
    """Lowest cost over the samples of z, plus `weight` times the surprise of z."""

    kind: Literal["optimistic"] = "optimistic"
    weight: float = Field(default=1.0, ge=0.0, le=1e6, description="of surprise")

    def __call__(self, costs: Tensor, noise: Tensor) -> Tensor:
        return (costs + self.weight * surprise(noise)).amin(-1)


def surprise(noise: Tensor) -> Tensor:
    """-log p(noise) (M,) in nats, up to a constant, of standard normal noise (M, T, Z)."""
    return 0.5 * noise.square().sum((-2, -1))


RISKS: dict[str, type[RiskMeasure]] = {
    "mean": Mean,
    "cvar": CVaR,
    "worst": Worst,
    "best": Best,
    "entropic": Entropic,
    "adversarial": Adversarial,
    "optimistic": Optimistic,
}

Risk = Annotated[
    Mean | CVaR | Worst | Best | Entropic | Adversarial | Optimistic,
    Field(discriminator="kind"),
    by_kind("risk measure", RISKS),
]
