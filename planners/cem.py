"""Cross-entropy method (Rubinstein & Kroese, 2004; de Boer et al., 2005).

Shapes: B plans, K elites, T horizon, A action.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from worldplan.planners.config import PlannerConfig
from worldplan.planners.planner import Planner, moments


class CEMConfig(PlannerConfig):
    """Settings of `CEM`.

    Attributes:
        momentum: Weight of the old mean and standard deviation in the new ones.
    """

    kind: Literal["cem"] = "cem"
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)


class CEM(Planner[CEMConfig]):
    """Fits a diagonal Gaussian to the elites, which have equal weights."""

    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        new_mean, new_std = moments(elites, weights)
        return new_mean.lerp(mean, self.config.momentum), new_std.lerp(std, self.config.momentum)
