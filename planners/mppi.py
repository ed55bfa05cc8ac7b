"""Model predictive path integral control (MPPI), as in TD-MPC2.

MPPI: Williams et al., 2017, "Information Theoretic MPC for Model-Based Reinforcement Learning".
TD-MPC2: Hansen et al., 2024, https://arxiv.org/abs/2310.16828.

Shapes: B plans, K elites, T horizon, A action.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from worldplan.planners.config import PlannerConfig
from worldplan.planners.planner import Planner, moments


class MPPIConfig(PlannerConfig):
    """Settings of `MPPI`.

    Attributes:
        temperature: An elite that costs this much more has a weight e times smaller.
    """

    kind: Literal["mppi"] = "mppi"
    # The cost is divided by it, as in Williams et al. TD-MPC2 multiplies by its temperature, 0.5.
    temperature: float = Field(default=2.0, gt=0.0, le=1e12)


class MPPI(Planner[MPPIConfig]):
    """Fits a diagonal Gaussian to the elites, weighted by exp(-cost / temperature).

    Classical MPPI weights all candidates (`elites` equal to `samples`) and keeps the standard
    deviation fixed. Here, as in TD-MPC2, only elites count and the standard deviation is fitted.
    """

    def weights(self, costs: Tensor) -> Tensor:
        return (costs / -self.config.temperature).softmax(1)

    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        return moments(elites, weights)
