"""Inputs and outputs of planning: cost, noise, state, plan and statistics.

The cost is all that a planner sees of models, values or tasks.

Shapes: B plans, N candidate sequences, M latent samples, T horizon, A action, Z latent dimension,
I iterations, K elites, of which E are kept for the next plan.
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad


class TrajectoryCost(Protocol):
    """Predicted cost of action sequences; lower is better."""

    def __call__(self, actions: Tensor, noise: Tensor, /) -> Tensor:
        """Costs of every candidate under every latent sample.

        Args:
            actions: (B, N, T, A) sequences, executable as they are: numbers in [-1, 1], or one-hot
                choices side by side.
            noise: (M, T, Z) standard normal, from which the model makes its latent z(t). All
                candidates are compared under the same noise. Z may be 0.

        Returns:
            (B, N, M) costs. Non-finite costs count as +inf.
        """
        ...


@dataclass(frozen=True)
class ItemisedCost:
    """A cost that can be split into the costs of single steps, to explain a plan.

    Attributes:
        total: The cost that is minimised.
        items: Takes the same arguments and returns (B, N, M, T+1): the cost of each step, and last
            the cost after the horizon. They sum to the total.
    """

    total: TrajectoryCost
    items: TrajectoryCost

    def __call__(self, actions: Tensor, noise: Tensor, /) -> Tensor:
        """See `TrajectoryCost`."""
        return self.total(actions, noise)


@dataclass(frozen=True)
class PlanNoise:
    """All the noise of one call of `plan`.

    It is drawn outside, so that B plans at once equal B single plans with the same noise.

    Attributes:
        actions: (I, B, N, T, A) standard normal; coloured in time for iCEM.
        latent: (M, T, Z) standard normal; the same for all plans, candidates and iterations.
        select: (B,) uniform in [0, 1); selects the elite when `choose` is "sample".
    """

    actions: Tensor
    latent: Tensor
    select: Tensor


@dataclass(frozen=True)
class PlanState:
    """What one plan passes on to the next.

    Attributes:
        mean: (B, T, A) mean of the last search distribution; of choices, probabilities.
        elites: (B, E, T, A) best sequences of the last plan, best first.
        fresh: (B,) bool; true before the first plan and after a reset: nothing is taken over.
    """

    mean: Tensor
    elites: Tensor
    fresh: Tensor

    @classmethod
    def initial(
        cls,
        batch: int,
        horizon: int,
        action_dim: int,
        elites: int = 0,
        device: torch.device | None = None,
    ) -> "PlanState":
        """State before the first plan, for a planner that keeps `elites` elites."""
        return cls(
            mean=torch.zeros(batch, horizon, action_dim, device=device),
            elites=torch.zeros(batch, elites, horizon, action_dim, device=device),
            fresh=torch.ones(batch, dtype=torch.bool, device=device),
        )

    def reset(self, mask: Tensor) -> "PlanState":
        """Marks the plans in mask (B,) as fresh, for example when their episodes end.

        Raises:
            ValueError: mask is not a bool tensor of shape (B,).
        """
        if mask.dtype != torch.bool or mask.shape != self.fresh.shape:
            raise ValueError(
                f"reset mask must be bool {tuple(self.fresh.shape)}, "
                f"not {mask.dtype} {tuple(mask.shape)}"
            )
        return replace(self, fresh=self.fresh | mask)

    def shifted(self) -> tuple[Tensor, Tensor]:
        """Mean (B, T, A) and elites (B, E, T, A), shifted by the executed step.

        They are zero for fresh plans.
        """
        # The new last step is zero, as in TD-MPC. (iCEM repeats the mean's last action and draws a
        # new one for the elites; zero needs no noise and prefers no direction.)
        mean, elites = pad(self.mean[:, 1:], (0, 0, 0, 1)), pad(self.elites[:, :, 1:], (0, 0, 0, 1))
        return (
            mean.masked_fill(self.fresh[:, None, None], 0.0),
            elites.masked_fill(self.fresh[:, None, None, None], 0.0),
        )


@dataclass(frozen=True)
class PlanStats:
    """Statistics of the search, each of shape (I, B).

    Attributes:
        best: Lowest cost among the candidates of each iteration.
        elite_mean: Mean cost of the elites of each iteration.
        std_mean: Mean standard deviation of the distribution fitted to them.
    """

    best: Tensor
    elite_mean: Tensor
    std_mean: Tensor

    @classmethod
    def of(cls, costs: Tensor, stds: Tensor) -> "PlanStats":
        """Of costs of elites (I, B, K) and standard deviations (I, B, T, A)."""
        mean = costs.masked_fill(costs == math.inf, math.nan).nanmean(2)
        return cls(best=costs[..., 0], elite_mean=mean, std_mean=stds.mean((2, 3)))


@dataclass(frozen=True)
class Plan:
    """A plan, and what explains it.

    Attributes:
        actions: (B, T, A) the chosen sequences, executable, without exploration noise.
        cost: (B,) their predicted cost, after the risk measure.
        spread: (B,) standard deviation of that cost over the latent samples.
        std: (B, T, A) standard deviation of the final search distribution.
        failed: (B,) bool; in some iteration no candidate had a finite cost.
        stats: Statistics of the search, with `explain`.
        items: (B, M, T+1) predicted cost of each step, and last after the horizon, under each
            latent sample; with `explain`, if the cost is an `ItemisedCost`.
    """

    actions: Tensor
    cost: Tensor
    spread: Tensor
    std: Tensor
    failed: Tensor
    stats: PlanStats | None = None
    items: Tensor | None = None

    def scaled(self, factor: Tensor) -> "Plan":
        """The plan with all costs multiplied by a factor ()."""
        stats = self.stats and replace(
            self.stats, best=self.stats.best * factor, elite_mean=self.stats.elite_mean * factor
        )
        return replace(
            self,
            cost=self.cost * factor,
            spread=self.spread * factor,
            stats=stats,
            items=None if self.items is None else self.items * factor,
        )

    @property
    def action(self) -> Tensor:
        """(B, A) the first action of each plan."""
        return self.actions[:, 0]

    def check(self) -> None:
        """Raises FloatingPointError if the search failed in some plan."""
        if self.failed.any():
            raise FloatingPointError(
                f"no candidate has a finite cost in {int(self.failed.sum())} of "
                f"{len(self.failed)} plans"
            )
