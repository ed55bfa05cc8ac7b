"""Model predictive path integral control (MPPI), as in TD-MPC2.

MPPI: Williams et al., 2017, "Information Theoretic MPC for Model-Based Reinforcement Learning".
TD-MPC2: Hansen et al., 2024, https://arxiv.org/abs/2310.16828.

Shapes: B plans, K elites, T horizon, A action.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from worldplan.planners.config import PlannerConfig
from worldplan.planners.planner import Planner, moments


class MPPIConfig(PlannerConfig):
    """Settings of `MPPI`.

    Attributes:
        temperature: An elite whose cost exceeds the best's by this much has a weight e times
            smaller, in units of what the elites exceed it by on average.
    """

    kind: Literal["mppi"] = "mppi"
    temperature: float = Field(default=0.5, gt=0.0, le=1e12)


class MPPI(Planner[MPPIConfig]):
    """Fits a diagonal Gaussian to the elites, weighted by exp(-cost / temperature).

    Classical MPPI weights all candidates (`elites` equal to `samples`) and keeps the standard
    deviation fixed. Here, as in TD-MPC2, only elites count and the standard deviation is fitted.

    Neither scales costs. Where values are in the hundreds, the best elite then has all the weight,
    and a plan is what the value overrates most: see docs/experiments.md.
    """

    def weights(self, costs: Tensor) -> Tensor:
        excess, finite = costs - costs[:, :1], costs < math.inf
        average = excess.where(finite, 0.0).sum(1, keepdim=True) / finite.sum(1, keepdim=True)
        smallest = torch.finfo(costs.dtype).tiny  # all cost the same
        return (excess / -(self.config.temperature * average + smallest)).softmax(1)

    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        return moments(elites, weights)
