"""First-order planning: gradient descent on the actions, through the cost and all behind it.

Shapes: B plans, N candidate sequences, K elites, T horizon, A action.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from worldplan.planners.candidates import Candidates
from worldplan.planners.config import PlannerConfig
from worldplan.planners.planner import Planner, moments


class GradientConfig(PlannerConfig):
    """Settings of `Gradient`, which pays for each sample several times what the others pay.

    Attributes:
        learning_rate: Length of the first step, per action; steps shrink linearly to almost 0.
    """

    kind: Literal["gradient"] = "gradient"
    samples: int = Field(default=16, ge=1)
    iterations: int = Field(default=16, ge=1)
    elites: int = Field(default=4, ge=1)
    keep: float = Field(default=0.5, ge=0.0, le=1.0)
    choose: Literal["best"] = "best"
    learning_rate: float = Field(default=0.2, gt=0.0)


class Gradient(Planner[GradientConfig]):
    """Moves each candidate down its own gradient and takes the best that was ever seen.

    It starts from samples, from what was carried over (standing still, in a fresh plan) and from
    the proposals.
    """

    differentiates = True

    def propose(
        self, i: int, mean: Tensor, std: Tensor, noise: Tensor, last: Candidates | None
    ) -> Tensor:
        if last is None or last.gradient is None:
            return super().propose(i, mean, std, noise, last)
        gradient = last.gradient.nan_to_num(0.0, 0.0, 0.0)
        # Only the direction counts, so that one learning rate suits costs of any scale.
        length = gradient.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1e-12)
        step = self.config.learning_rate * (1.0 - i / self.config.iterations)
        return last.actions - step * gradient / length

    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        return elites[:, 0], moments(elites, weights)[1]
