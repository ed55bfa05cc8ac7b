"""One decision: encode, propose, search for the plan of the best score.

Shapes: B environments, D observation, A action, H embedding, S state, P proposals, N candidates,
M latent samples, T horizon, E latent noise, R = B*N*M rows imagined side by side.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from worldplan.agent.acting.actor_state import ActorState
from worldplan.agent.acting.distance import GoalDistance
from worldplan.agent.acting.imagination import propose, side_by_side
from worldplan.agent.acting.objective import LearnedReturn, Objective
from worldplan.agent.learning.compiling import Execution, prepare
from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.world_model import Model
from worldplan.planners import (
    ItemisedCost,
    Plan,
    Planner,
    PlanNoise,
    PlanState,
    make_planner,
)


@dataclass(frozen=True)
class ControllerNoise:
    """All that is random in B decisions. Without proposals their noise is None."""

    plan: PlanNoise
    action: Tensor | None = None  # (T, B, P, A) of the policy that proposes
    latent: Tensor | None = None  # (T, B, P, E) of what comes of its actions


class Controller:
    """Joins model, heads and planner, none of which knows of the others."""

    def __init__(
        self,
        model: Model,
        heads: Heads | None,
        planner: Planner[Any],
        default: Objective | None,
        proposals: int,
        execution: Execution,
        shortfall: float = 0.0,
        policy_turn: int = 1,
    ) -> None:
        """Plans for `default` where nothing else is asked for; None if no reward was learned.

        Where plans for the learned return fall short of what they promised by `shortfall` of the
        spread of values, the policy acts for `policy_turn` decisions: see `Promise`. At 0, or where
        plans explore, it never does.
        """
        self.model, self.heads, self.planner = model, heads, planner
        self.default, self.proposals = default, proposals
        self.shortfall, self.policy_turn = shortfall, policy_turn
        # What the user asks for in place of it: see `Agent.aim` and `Agent.minimise`.
        self.goal: Tensor | None = None
        self.objective: Objective | None = None
        self.device = execution.device
        # Of distances to a goal. Until steps are measured, they are those of embeddings.
        self.ruler = torch.eye(model.embedding_dim, device=self.device)
        self.prepare(execution)

    def prepare(self, execution: Execution) -> None:
        """From now on decisions run as `execution` says, on the same device."""
        self._execution = execution
        device, precision, planner = self.device, execution.plan_precision, self.planner
        # A decision is compiled whole, unless its loop must look at a clock or at gradients: then
        # what it calls is. Into a simulator, which has no heads, the compiler cannot see.
        compiled = execution.compiled and self.heads is not None and not self.model.unrolls
        whole = compiled and planner.config.deadline_ms is None and not planner.differentiates
        self._whole = prepare(self.decide, whole, precision, device, captured=True)
        self._plainly = prepare(self.decide, False, precision, device)
        self._score = prepare(self.score, compiled and not whole, device=device, dynamic=True)
        self._rest = prepare(self.rest, compiled, precision, device, captured=True)

    def set_deadline(self, ms: float | None) -> None:
        """From now on a search ends after so many milliseconds; None: after all its iterations.

        Raises:
            ValueError: not a positive number.
        """
        config = self.planner.config
        if config.deadline_ms == ms:  # what was compiled stays
            return
        changed = type(config).model_validate({**config.model_dump(), "deadline_ms": ms})
        self.planner = make_planner(changed, self.planner.actions)
        self.prepare(self._execution)

    def __call__(
        self,
        observation: Tensor,
        state: ActorState,
        noise: ControllerNoise,
        goal: Tensor | None = None,
        objective: Objective | None = None,
        explain: bool = False,
        explore: bool = False,
        sample: bool = False,
    ) -> tuple[Plan, PlanState]:
        """As `decide`, and as fast as can be: a user's objective and an explanation are slower.

        Without `explore` a plan for the learned return is more cautious: see `LearnedReturn`.
        With `sample` it is an elite, drawn by its weight, if the planner `samples_elites`.

        Raises:
            ValueError: there is nothing to plan for, or not one goal a plan.
        """
        if self.default is None and goal is None and objective is None:
            raise ValueError(
                "the planner of an agent that learned no reward has nothing to act for; expected "
                "the planner after agent.aim(goal) or agent.minimise(cost, decode)"
            )
        if goal is not None and len(goal) not in (1, len(observation)):
            raise ValueError(
                f"expected one goal, or one for each of {len(observation)}, got {len(goal)}"
            )
        scale = None if objective is not None else self.caution(goal)
        if explore and scale is not None:
            scale = torch.ones_like(scale)  # a tensor too: one compiled decision serves both
        if explain:
            plan, after = self.decide(
                observation, state, noise, goal, scale, objective, explore, sample, explain=True
            )
        elif objective is not None:
            plan, after = self._plainly(
                observation, state, noise, goal, scale, objective, explore, sample
            )
        else:
            plan, after = self._whole(observation, state, noise, goal, scale, None, explore, sample)
        return self.in_rewards(plan, scale), after

    @property
    def ended(self) -> bool:
        """Whether an episode has terminated in training so far. A GPU is waited for."""
        return self.heads is not None and bool(self.heads.unit.ended)

    def caution(self, goal: Tensor | None) -> Tensor | None:
        """() what scores are divided by where plans are for the default, and not for a goal."""
        return self.default.caution if self.default and goal is None else None

    def in_rewards(self, plan: Plan, scale: Tensor | None) -> Plan:
        """A plan for the default in the unit of rewards: its search was in the heads' / scale."""
        unit = self.default.unit if self.default and scale is not None else None
        return plan if unit is None or scale is None else plan.scaled(unit * scale)

    def settle(
        self,
        plan: Plan,
        observation: Tensor,
        state: ActorState,
        noise: ControllerNoise,
        goal: Tensor | None,
    ) -> tuple[Tensor, ActorState]:
        """What is done on a plan: its action (B, A), or the policy's where plans fell short."""
        returns = self._returns(goal)
        if returns is None:
            return plan.action, state
        assert self.heads is not None
        unit = self.heads.unit
        limit = self.shortfall * unit.spread * unit.value
        promise = state.promise.hear(
            -plan.cost, state.plan.fresh, returns.discount, limit, self.policy_turn
        )
        follows = promise.turn[:, None] > 0
        action = torch.where(follows, self.follow(observation, state), plan.action)
        actions = torch.cat([action[:, None], plan.actions[:, 1:]], 1)
        rest = self._rest(actions, observation, state, noise.plan.latent)
        return action, replace(state, promise=replace(promise, rest=rest))

    def _returns(self, goal: Tensor | None) -> LearnedReturn | None:
        """What plans are for, where the policy acts if they do not keep to it."""
        asked = self.shortfall > 0 and goal is None and self.objective is None
        return self.default if asked and isinstance(self.default, LearnedReturn) else None

    def rest(
        self, actions: Tensor, observation: Tensor, state: ActorState, latent: Tensor
    ) -> Tensor:
        """What is left (B,) of plans' (B, T, A) learned return after their first actions."""
        returns = self.default
        assert isinstance(returns, LearnedReturn)
        h, s = state.filter(self.model, observation)
        rest = returns.rest(self.model.imagine(*side_by_side(h, s, actions[:, None], latent)))
        cost: Tensor = self.planner.config.risk(-rest.view(len(h), 1, len(latent)), latent)
        return -cost[:, 0] * returns.unit

    def follow(self, observation: Tensor, state: ActorState) -> Tensor:
        """The mode (B, A) of the policy."""
        assert self.heads is not None, "an agent without a policy has no such actor"
        features = self.model.features(*state.filter(self.model, observation))
        return self.heads.act(features, torch.zeros_like(state.noise))[0]

    def draw_noise(self, batch: int, generator: torch.Generator | None) -> ControllerNoise:
        """Of B decisions: the planner's, the proposing policy's and that of its futures.

        Without a generator it is of PyTorch's own.
        """
        E = self.model.noise_dim
        plan = self.planner.draw_noise(batch, E, generator, self.device)
        P, T = self.proposals, self.planner.config.horizon
        if not P:
            return ControllerNoise(plan)

        def normal(width: int) -> Tensor:
            return torch.randn(T, batch, P, width, generator=generator, device=self.device)

        action = normal(self.planner.actions.size)
        action[:, :, 0] = 0  # the first proposal is the policy's mode
        return ControllerNoise(plan, action, normal(E))

    def decide(
        self,
        observation: Tensor,
        state: ActorState,
        noise: ControllerNoise,
        goal: Tensor | None = None,
        scale: Tensor | None = None,
        objective: Objective | None = None,
        explore: bool = False,
        sample: bool = False,
        explain: bool = False,
    ) -> tuple[Plan, PlanState]:
        """Encode, propose, search: for an objective, for a goal (B, D), or else for the default.

        Costs are minus the scores, divided by `scale` ().
        """
        began = None if self.planner.config.deadline_ms is None else time.perf_counter()
        h, s = state.filter(self.model, observation)
        proposals = None
        if noise.action is not None and noise.latent is not None:
            assert self.heads is not None
            proposals = propose(self.model, self.heads, h, s, noise.action, noise.latent)
        # What is compiled on its own cannot hold a user's function.
        score = self._score if objective is None else self.score
        target = None if goal is None else self.model.encode_goal(goal)

        def cost(actions: Tensor, latent: Tensor) -> Tensor:
            value = score(*side_by_side(h, s, actions, latent), target, objective, explore)
            value = value if scale is None else value / scale
            return -value.view(*actions.shape[:2], latent.shape[0])

        how: dict[str, Any] = {"began": began, "sample": sample}
        if not explain:
            return self.planner.search(cost, state.plan, noise.plan, proposals, **how)

        def items(actions: Tensor, latent: Tensor) -> Tensor:
            imagined = self.model.imagine(*side_by_side(h, s, actions, latent))
            parts = self._objective(target, objective, explore).items(imagined)
            parts = parts if scale is None else parts / scale
            return -parts.T.view(*actions.shape[:2], latent.shape[0], -1)

        explained = ItemisedCost(cost, items)
        return self.planner.search(explained, state.plan, noise.plan, proposals, True, **how)

    def score(
        self,
        h: Tensor,
        s: Tensor,
        actions: Tensor,
        noise: Tensor,
        target: Tensor | None = None,
        objective: Objective | None = None,
        explore: bool = False,
    ) -> Tensor:
        """Of rows imagined side by side (R,), on the way to a target (B, H) if there is one."""
        imagined = self.model.imagine(h, s, actions, noise)
        return self._objective(target, objective, explore)(imagined)

    def _objective(
        self, target: Tensor | None, given: Objective | None, explore: bool
    ) -> Objective:
        found = given or self.default
        if given is None and target is not None:
            found = GoalDistance(target, self.ruler)
        assert found is not None, "checked before the search"
        return found.exploring if explore else found
