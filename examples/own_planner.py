"""A planner of your own: how it fits the search distribution to the best candidates."""

import numpy as np
from torch import Tensor

import worldplan
from worldplan.planners import CEMConfig, Planner
from worldplan.planners.actions import Box
from worldplan.planners.planner import moments


class Sharp(Planner[CEMConfig]):
    """As the cross-entropy method, but elites count by their rank, and the spread shrinks."""

    def weights(self, costs: Tensor) -> Tensor:
        ranks = costs.argsort(1).argsort(1).to(costs.dtype)  # 0 is the best
        weights = 0.8**ranks
        return weights / weights.sum(1, keepdim=True)

    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        new_mean, new_std = moments(elites, weights)
        return new_mean, 0.9 * new_std


target = np.linspace(-0.5, 0.5, 8)[:, None]  # a ramp of eight steps


def cost(actions: np.ndarray) -> np.ndarray:
    return ((actions - target) ** 2).sum((1, 2))


own = Sharp(CEMConfig(horizon=8, iterations=6, samples=128), Box(1))
for name, planner in (("own", own), ("cem", "cem")):
    how = {} if planner is own else {"horizon": 8, "iterations": 6, "samples": 128}
    found = worldplan.plan(cost, planner=planner, **how)
    print(f"{name}: cost {found.cost:.4f}, first action {found.action[0]:.2f}")

# To train with it, `planner.kind=sharp`, it needs a line in a table: see CONTRIBUTING.md.
