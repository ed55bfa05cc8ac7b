"""Model predictive path integral control (MPPI) as in TD-MPC2.

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
        temperature: Difference in cost at which an elite counts e times less.
    """

    kind: Literal["mppi"] = "mppi"
    # It divides the cost, as in Williams et al.; TD-MPC2 multiplies by what it calls so, 0.5.
    temperature: float = Field(default=2.0, gt=0.0)


class MPPI(Planner[MPPIConfig]):
    """Fits a Gaussian to the elites, the cheaper of which count more.

    Classical MPPI weighs all candidates (`elites` equal to `samples`) and leaves the standard
    deviation alone. As in TD-MPC2, only elites count and the standard deviation is fitted too.
    """

    def weights(self, costs: Tensor) -> Tensor:
        return (costs / -self.config.temperature).softmax(1)

    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        return moments(elites, weights)
