"""The search loop that all planners share. They differ in how they use the elites.

Shapes: B plans, N candidate sequences, K elites, M latent samples, T horizon, A action, Z latent
dimension, I iterations, P proposals.
"""

import math
import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor

from worldplan.planners.actions import ActionSpace
from worldplan.planners.candidates import Candidates
from worldplan.planners.config import PlannerConfig
from worldplan.planners.plan import (
    ItemisedCost,
    Plan,
    PlanNoise,
    PlanState,
    PlanStats,
    TrajectoryCost,
)

C = TypeVar("C", bound=PlannerConfig)


class Planner(ABC, Generic[C]):
    """Searches for the action sequence of lowest cost. It is stateless: see `PlanState`."""

    differentiates = False  # whether the algorithm needs the gradient of the cost
    samples_elites = True  # whether `search` can; false: the plan is always the best one

    def __init__(self, config: C, actions: ActionSpace) -> None:
        self.config, self.actions = config, actions

    @abstractmethod
    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Fits the next search distribution to the elites.

        Args:
            elites: (B, K, T, A) the best candidates, best first.
            weights: (B, K) their weights, which sum to 1.
            mean: (B, T, A) of the current search distribution.
            std: (B, T, A) of the current search distribution.

        Returns:
            Mean and standard deviation, (B, T, A), of the next search distribution.
        """

    def weights(self, costs: Tensor) -> Tensor:
        """Weights (B, K) of elites with costs (B, K). A cost of +inf has weight 0."""
        finite = (costs < math.inf).to(costs.dtype)
        return finite / finite.sum(1, keepdim=True)

    def propose(
        self, i: int, mean: Tensor, std: Tensor, noise: Tensor, last: Candidates | None
    ) -> Tensor:
        """Makes the candidates (B, N, T, A) of an iteration, not yet executable.

        Args:
            i: Iteration, from 0.
            mean: (B, T, A) of the search distribution.
            std: (B, T, A) of the search distribution.
            noise: (B, N, T, A) standard normal.
            last: The candidates that the previous iteration evaluated.
        """
        return self.actions.draw(mean[:, None], std[:, None], noise)

    def initial_state(self, batch: int, device: torch.device | None = None) -> PlanState:
        """State before the first plan."""
        c = self.config
        return PlanState.initial(batch, c.horizon, self.actions.size, c.kept, device)

    def draw_noise(
        self,
        batch: int,
        latent_dim: int,
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> PlanNoise:
        """Draws the noise of one call of `plan`."""
        c = self.config

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=device)

        return PlanNoise(
            actions=normal(c.iterations, batch, c.samples, c.horizon, self.actions.size),
            latent=stratified((c.latent_samples, c.horizon, latent_dim), generator, device),
            select=torch.rand(batch, generator=generator, device=device),
        )

    @torch.no_grad()
    def plan(
        self,
        cost: TrajectoryCost,
        state: PlanState,
        noise: PlanNoise,
        proposals: Tensor | None = None,
        explain: bool = False,
    ) -> tuple[Plan, PlanState]:
        """Searches for the sequences of lowest cost, one for each of B plans.

        After `deadline_ms` no evaluation starts, and the best sequence so far is the plan.

        Args:
            cost: What to minimise.
            state: From the previous plan, or `initial_state`.
            noise: From `draw_noise`.
            proposals: (B, P, T, A) sequences, such as a policy's, that join every iteration.
            explain: Adds `stats` to the plan, and `items` if the cost is an `ItemisedCost`.

        Returns:
            The plan, and the state for the next one.

        Raises:
            ValueError: Shapes do not match, or the planner needs a gradient that the cost has not.
            FloatingPointError: In some plan no candidate has a finite cost.
        """
        found = self.search(cost, state, noise, proposals, explain)
        found[0].check()
        return found

    @torch.no_grad()
    def search(
        self,
        cost: TrajectoryCost,
        state: PlanState,
        noise: PlanNoise,
        proposals: Tensor | None = None,
        explain: bool = False,
        began: float | None = None,
        sample: bool = False,
    ) -> tuple[Plan, PlanState]:
        """The same as `plan`, without `Plan.check`, which is left to the caller.

        Control flow does not depend on values of tensors, so that torch.compile can compile it.

        Args:
            began: `time.perf_counter()` from which `deadline_ms` counts. None: now.
            sample: As if `choose` was "sample", if the planner `samples_elites`.
        """
        c = self.config
        self._check_shapes(state, noise, proposals)
        end = math.inf
        if c.deadline_ms is not None:
            end = (time.perf_counter() if began is None else began) + 1e-3 * c.deadline_ms
        state = state if c.warm_start else state.reset(torch.ones_like(state.fresh))
        mean, carried = state.shifted()
        mean, std = self.actions.widen(mean, torch.zeros_like(mean), c.initial_std)
        extra = carried if proposals is None else torch.cat([carried, proposals], 1)
        last = given = kept = None
        elite_costs, stds = [], []
        for i in range(c.iterations):
            if i and _is_past(end):
                break
            actions = self.propose(i, mean, std, noise.actions[i], last)
            if i == 0:
                n = actions.shape[1]
                last = self._evaluate(cost, torch.cat([actions, extra], 1), noise.latent)
                # The carried elites of a fresh plan are zeros and must not be selected.
                last.costs[:, n : n + carried.shape[1]].masked_fill_(state.fresh[:, None], math.inf)
                own, given = last.split(n)
            else:
                # Kept elites and proposals keep their costs, because the latent noise is the same.
                last = self._evaluate(cost, actions, noise.latent)
                own = last.join(kept)
            elites = own.join(given).best(c.elites)
            kept = own.best(c.kept) if c.kept else None
            weights = self.weights(elites.costs)
            mean, std = self.update(elites.actions, weights, mean, std)
            mean, std = self.actions.widen(mean, std, c.min_std)
            elite_costs.append(elites.costs)
            stds.append(std)

        choose = "sample" if sample and self.samples_elites else c.choose
        late = _is_past(end)
        chosen = self._choose("best" if late else choose, cost, elites, weights, mean, noise)
        items = None
        if explain and isinstance(cost, ItemisedCost):
            items = cost.items(chosen.actions, noise.latent)[:, 0]
        costs = torch.stack(elite_costs)
        plan = Plan(
            actions=chosen.actions[:, 0],
            cost=chosen.costs[:, 0],
            spread=chosen.futures[:, 0].std(1, correction=0),
            std=std,
            failed=(costs[..., 0] == math.inf).any(0),
            stats=PlanStats.of(costs, torch.stack(stds)) if explain else None,
            items=items,
        )
        return plan, PlanState(mean, elites.actions[:, : c.kept], torch.zeros_like(state.fresh))

    def _evaluate(self, cost: TrajectoryCost, actions: Tensor, noise: Tensor) -> Candidates:
        """Evaluates candidates (B, N, T, A), made executable, and applies the risk measure."""
        actions = self.actions.executable(actions).requires_grad_(self.differentiates)
        with torch.set_grad_enabled(self.differentiates):
            futures = cost(actions, noise)
            if futures.shape != (*actions.shape[:2], len(noise)):
                raise ValueError(
                    f"the cost must return (B, N, M) = {(*actions.shape[:2], len(noise))}, "
                    f"not {tuple(futures.shape)}"
                )
            futures = futures.nan_to_num(nan=math.inf, posinf=math.inf, neginf=math.inf)
            costs = self.config.risk(futures, noise)
        if not self.differentiates:
            return Candidates(actions, futures, costs)
        if not costs.requires_grad:
            raise ValueError(
                f"planner.kind={self.config.kind} needs a differentiable cost, this one is not "
                "differentiable"
            )
        (gradient,) = torch.autograd.grad(costs, actions, torch.ones_like(costs))
        return Candidates(actions.detach(), futures.detach(), costs.detach(), gradient)

    def _choose(
        self,
        choose: str,
        cost: TrajectoryCost,
        elites: Candidates,
        weights: Tensor,
        mean: Tensor,
        noise: PlanNoise,
    ) -> Candidates:
        """The sequence to execute, as one candidate for each plan; see `PlannerConfig.choose`."""
        best = elites.split(1)[0]
        if choose == "best":
            return best
        if choose == "sample":
            cumulative = weights.cumsum(1)
            threshold = noise.select[:, None] * cumulative[:, -1:]
            return elites.pick((cumulative < threshold).sum(1, keepdim=True))
        middle = self._evaluate(cost, mean[:, None], noise.latent)
        # The mean of two good sequences may fail: then the best elite is chosen.
        failed = middle.costs == math.inf
        return Candidates(
            torch.where(failed[..., None, None], best.actions, middle.actions),
            torch.where(failed[..., None], best.futures, middle.futures),
            torch.where(failed, best.costs, middle.costs),
        )

    def _check_shapes(self, state: PlanState, noise: PlanNoise, proposals: Tensor | None) -> None:
        c = self.config
        batch, horizon, width = state.mean.shape
        drawn = (c.iterations, batch, c.samples, c.horizon, width)
        if horizon != c.horizon:
            raise ValueError(f"the state's horizon is {horizon}, the planner's {c.horizon}")
        if noise.actions.shape != drawn:
            raise ValueError(
                f"action noise must be (I, B, N, T, A) = {drawn}, not {tuple(noise.actions.shape)}"
            )
        if proposals is not None and (
            proposals.dim() != 4 or proposals[:, 0].shape != state.mean.shape
        ):
            raise ValueError(
                f"proposals must be (B, P, T, A) with {tuple(state.mean.shape)} for B, T and A, "
                f"not {tuple(proposals.shape)}"
            )


def stratified(
    shape: tuple[int, int, int],
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Standard normal noise (M, T, Z), stratified over the M samples.

    Latin hypercube sampling (McKay, Beckman & Conover 1979): at every step, an event of
    probability p happens in M p of the M samples, rounded up or down. With independent draws it
    would happen in fewer samples at some steps, and the search would move the risk to these steps.
    """
    if shape[0] == 1:
        return torch.randn(shape, generator=generator, device=device)
    stratum = torch.rand(shape, generator=generator, device=device).argsort(0)
    u = (stratum + torch.rand(shape, generator=generator, device=device)) / shape[0]
    # Rounding to 0 or 1 would give infinity.
    noise: Tensor = torch.special.ndtri(u.clamp(1e-7, 1 - 1e-7))
    return noise


def moments(actions: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, T, A) of sequences (B, K, T, A) with weights (B, K)."""
    flat, weights = actions.flatten(2), weights[:, None]
    mean = weights.bmm(flat)
    std = weights.bmm((flat - mean).square()).sqrt()
    shape = (len(actions), *actions.shape[2:])
    return mean.view(shape), std.view(shape)


def _is_past(end: float) -> bool:
    """Whether the clock is past `end`. Without a deadline (inf) the clock is not read."""
    return end < math.inf and time.perf_counter() > end
