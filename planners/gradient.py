"""First-order planning: gradient descent on the actions, through the cost and the model.

Shapes: B plans, N candidate sequences, K elites, T horizon, A action.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from worldplan.planners.candidates import Candidates
from worldplan.planners.config import PlannerConfig
from worldplan.planners.planner import Planner, moments


class GradientConfig(PlannerConfig):
    """Settings of `Gradient`. A sample costs several times as much as in the other planners.

    Attributes:
        learning_rate: Root mean square of the first step. Steps shrink linearly to almost 0.
    """

    kind: Literal["gradient"] = "gradient"
    samples: int = Field(default=16, ge=1, le=100_000)
    iterations: int = Field(default=16, ge=1, le=200)
    elites: int = Field(default=4, ge=1, le=100_000)
    keep: float = Field(default=0.5, ge=0.0, le=1.0)
    choose: Literal["best"] = "best"
    learning_rate: float = Field(default=0.2, gt=0.0, le=1000.0)


class Gradient(Planner[GradientConfig]):
    """Moves each candidate along its negative gradient and takes the best one ever evaluated.

    It starts from samples, from the elites of the previous plan (zero actions in a fresh plan) and
    from the proposals.
    """

    differentiates = True
    samples_elites = False

    def propose(
        self, i: int, mean: Tensor, std: Tensor, noise: Tensor, last: Candidates | None
    ) -> Tensor:
        if last is None or last.gradient is None:
            return super().propose(i, mean, std, noise, last)
        gradient = last.gradient.nan_to_num(0.0, 0.0, 0.0)
        # Normalised, so that one learning rate suits costs of any scale.
        rms = gradient.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1e-12)
        step = self.config.learning_rate * (1.0 - i / self.config.iterations)
        return last.actions - step * gradient / rms

    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        return elites[:, 0], moments(elites, weights)[1]
