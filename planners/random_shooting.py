"""Random shooting: the best of candidates that are drawn uniformly, a baseline for searches.

Shapes: B plans, N candidate sequences, K elites, T horizon, A action.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from worldplan.planners.candidates import Candidates
from worldplan.planners.config import PlannerConfig
from worldplan.planners.planner import Planner, moments


class RandomShootingConfig(PlannerConfig):
    """Settings of `RandomShooting`. Numbers are uniform in [-initial_std, initial_std].

    Only kept elites make a warm start, which therefore needs `keep` above 0.
    """

    kind: Literal["random_shooting"] = "random_shooting"
    samples: int = Field(default=512, ge=1, le=100_000)
    iterations: Literal[1] = 1
    choose: Literal["best"] = "best"


class RandomShooting(Planner[RandomShootingConfig]):
    """Draws once and takes the best. The elites are used for the standard deviation only."""

    samples_elites = False

    def propose(
        self, i: int, mean: Tensor, std: Tensor, noise: Tensor, last: Candidates | None
    ) -> Tensor:
        return self.actions.random(noise, self.config.initial_std)

    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        return elites[:, 0], moments(elites, weights)[1]
