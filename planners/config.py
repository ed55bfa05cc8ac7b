"""Settings that all planners share. Each algorithm adds its own, beside its class."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from worldplan.planners.risk import Mean, Risk


class PlannerConfig(BaseModel):
    """Settings of a search.

    Attributes:
        kind: Name of the algorithm.
        horizon: Steps planned ahead.
        samples: Candidate sequences drawn in each iteration.
        iterations: Rounds of drawing candidates and fitting the distribution to the elites.
        elites: Number of best candidates, to which the distribution is fitted.
        keep: Fraction of the elites that joins the next iteration and, shifted, the next plan.
        latent_samples: Samples of the latent noise under which each candidate is evaluated.
        risk: Risk measure, which reduces the costs under these samples to one cost.
        choose: The sequence to execute: the best elite, the mean of the final distribution, or an
            elite sampled in proportion to its weight.
        warm_start: Start from the previous plan, shifted by one step.
        initial_std: Standard deviation of the first distribution. Of choices, s is the share
            s / (1 + s) of uniform draws in it; the rest is the warm start.
        min_std: Lower bound of the standard deviation; of choices as above, so that none dies.
        deadline_ms: Milliseconds after which no new evaluation starts and the best sequence so
            far is the plan. None: all iterations always run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    horizon: int = Field(default=3, ge=1, le=500)
    samples: int = Field(default=64, ge=1, le=100_000)
    iterations: int = Field(default=3, ge=1, le=200)
    elites: int = Field(default=16, ge=1, le=100_000)
    keep: float = Field(default=0.0, ge=0.0, le=1.0)
    latent_samples: int = Field(default=1, ge=1, le=10_000)
    risk: Risk = Mean()
    choose: Literal["best", "mean", "sample"] = "mean"
    warm_start: bool = True
    initial_std: float = Field(default=1.0, gt=0.0, le=1000.0)
    min_std: float = Field(default=0.05, gt=0.0, le=1000.0)
    deadline_ms: float | None = Field(default=None, gt=0.0, le=1e7)

    @model_validator(mode="after")
    def _is_consistent(self) -> "PlannerConfig":
        if self.elites > self.samples:
            raise ValueError(f"elites ({self.elites}) must not exceed samples ({self.samples})")
        if self.min_std > self.initial_std:
            raise ValueError(
                f"min_std ({self.min_std}) must not exceed initial_std ({self.initial_std})"
            )
        return self

    @property
    def kept(self) -> int:
        """Number of elites that are kept."""
        return math.ceil(self.keep * self.elites)
