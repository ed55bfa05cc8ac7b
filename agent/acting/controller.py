"""One decision: encode, propose, search, by what plans are worth.

Shapes: B environments, D observation, A action, H embedding, S state, P proposals, N candidates,
M latent samples, T horizon, E latent noise, R = B*N*M rows imagined side by side.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from worldplan.agent.acting.actor_state import ActorState
from worldplan.agent.acting.imagination import (
    goal_distance,
    imagine,
    itemised_return,
    learned_return,
    propose,
    side_by_side,
)
from worldplan.agent.acting.objective import Objective, Purpose
from worldplan.agent.learning.compiling import Execution, prepare
from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.simulator import SimulatorModel
from worldplan.agent.models.world_model import Model
from worldplan.planners import ItemisedCost, Plan, Planner, PlanNoise, PlanState

Luck = tuple[PlanNoise, Tensor | None, Tensor | None]


class Decision:
    """Joins model, heads and planner, none of which knows of the others. Remembers nothing."""

    def __init__(
        self,
        model: Model,
        heads: Heads | None,
        planner: Planner[Any],
        discount: float,
        proposals: int,
        execution: Execution,
    ) -> None:
        self.model, self.heads, self.planner = model, heads, planner
        self.discount, self.proposals = discount, proposals
        # A decision is compiled whole, unless its loop must look at a clock or at slopes: then
        # what it calls is. Into a simulator, which has no heads, the compiler cannot see.
        compiled = execution.compiled and heads is not None and not model.unrolls
        precision = execution.plan_precision
        whole = compiled and planner.config.deadline_ms is None and not planner.differentiates
        self._whole = prepare(self.decide, whole, precision, wrapped=True)
        self._plainly = prepare(self.decide, False, precision)
        self._worth = prepare(self.worth, compiled and not whole, dynamic=True)

    def __call__(
        self, observation: Tensor, state: ActorState, luck: Luck, purpose: Purpose, explain: bool
    ) -> tuple[Plan, PlanState]:
        """As `decide`, and as fast as can be: a user's objective and an explanation are not."""
        goal, objective = purpose.goal, purpose.objective
        if explain:
            return self.decide(observation, goal, state, *luck, objective, explain=True)
        if objective is not None:
            return self._plainly(observation, goal, state, *luck, objective)
        return self._whole(observation, goal, state, *luck)

    def luck(self, batch: int, action_dim: int, generator: torch.Generator) -> Luck:
        """Noise of B decisions: the planner's, the proposing policy's and its futures'."""
        noise = self.planner.draw_noise(batch, action_dim, self.model.noise_dim, generator)
        P, T = self.proposals, self.planner.config.horizon
        if not P:
            return noise, None, None
        will = torch.randn(T, batch, P, action_dim, generator=generator)
        will[:, :, 0] = 0  # the first proposal is the policy's mode
        return noise, will, torch.randn(T, batch, P, self.model.noise_dim, generator=generator)

    def decide(
        self,
        observation: Tensor,
        goal: Tensor | None,
        state: ActorState,
        noise: PlanNoise,
        will: Tensor | None,
        luck: Tensor | None,
        objective: Objective | None = None,
        explain: bool = False,
    ) -> tuple[Plan, PlanState]:
        """Encode, propose, search; will (T,B,P,A) and luck (T,B,P,E) are None without proposals."""
        began = None if self.planner.config.deadline_ms is None else time.perf_counter()
        h, s = state.filter(self.model, observation)
        proposals = None
        if will is not None and luck is not None:
            assert self.heads is not None
            proposals = propose(self.model, self.heads, h, s, will, luck)
        target = None if goal is None else self.model.encode(goal)
        # What is compiled on its own cannot hold a user's function.
        worth = self._worth if objective is None else self.worth

        def cost(actions: Tensor, latent: Tensor) -> Tensor:
            value = worth(*side_by_side(h, s, actions, latent), target, objective)
            return -value.view(*actions.shape[:2], latent.shape[0])

        if not explain:
            return self.planner.search(cost, state.plan, noise, proposals, began=began)

        def items(actions: Tensor, latent: Tensor) -> Tensor:
            assert self.heads is not None
            future = imagine(self.model, *side_by_side(h, s, actions, latent))
            parts = itemised_return(self.heads, self.discount, future)
            return -parts.T.view(*actions.shape[:2], latent.shape[0], -1)

        # A goal, a user's cost and a simulator's return are told as one sum.
        learned = goal is None and objective is None and self.heads is not None
        explained = ItemisedCost(cost, items) if learned else cost
        return self.planner.search(explained, state.plan, noise, proposals, True, began=began)

    def worth(
        self,
        h: Tensor,
        s: Tensor,
        actions: Tensor,
        noise: Tensor,
        target: Tensor | None = None,
        objective: Objective | None = None,
    ) -> Tensor:
        """Of rows imagined side by side (R,): by an objective, nearness to a target (B, H), or else
        the return; the more the better."""
        if isinstance(self.model, SimulatorModel):
            return self.model.true_return(s, actions, noise, self.discount)
        future = imagine(self.model, h, s, actions, noise)
        if objective is not None:
            return objective(future)
        if target is not None:
            return -goal_distance(future, target)
        assert self.heads is not None
        return learned_return(self.model, self.heads, self.discount, future)
