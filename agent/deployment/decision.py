"""A decision as a function of tensors, which torch.export can take out of worldplan.

Shapes: B environments, D observation, A action, C remembered steps, T horizon, E elites, S state.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from worldplan.agent.acting.actor_state import ActorState
from worldplan.agent.acting.actors import AgentActor, PlanningActor, PolicyActor
from worldplan.agent.acting.promise import Promise
from worldplan.envs import ActionSpec
from worldplan.planners import Categorical, PlanState


class Decision(nn.Module):
    """What an agent does: an observation and a state go in, an action and a state come out.

    The state is one row of numbers; an episode begins with zeros. Actions are as the environment
    takes them, or NaN (the first choice, of choices) where no plan has a finite cost. Noise is of
    PyTorch's own generator: after `torch.manual_seed(k)` actions are those of `Agent.act` after
    `reset(seed=k)`.
    """

    def __init__(self, actor: AgentActor, spec: ActionSpec) -> None:
        """Of an actor that plans, to the learned return or a goal, or of the policy.

        Raises:
            ValueError: another actor, or one whose decisions are not only of tensors.
        """
        super().__init__()
        self.actor, self.spec, self.controller = actor, spec, actor.controller
        if why_not := obstacle(actor):
            raise ValueError(why_not)
        # Registered, so that their weights are the module's.
        self.model, self.heads = self.controller.model, self.controller.heads
        plans = isinstance(actor, PlanningActor)
        self._decide = self._plan if plans else self._follow
        self._kept = _past_and_plan if plans else _past
        self.parts = self._kept(actor.initial(1))
        self.sizes = [part[0].numel() for part in self.parts]
        if spec.choices is None:
            spec.scaled(np.zeros(spec.size, np.float32))  # tells bounds that are not known

    @property
    def size(self) -> int:
        """S, numbers of the state."""
        return sum(self.sizes)

    def forward(self, observation: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Actions and the next state, of observations (B, D) and a state (B, S)."""
        action, after = self._decide(observation, self._unpacked(state, len(observation)))
        after = after.remember(observation, action)
        return self._scaled(action), self._packed(after)

    def _plan(self, observation: Tensor, state: ActorState) -> tuple[Tensor, ActorState]:
        c = self.controller
        noise = c.draw_noise(len(observation), None)
        scale = c.caution(c.goal)
        plan, plan_state = c.decide(observation, state, noise, c.goal, scale)
        plan = c.in_rewards(plan, scale)
        action, state = c.settle(plan, observation, state, noise, c.goal)
        action = action.masked_fill(plan.failed[:, None], torch.nan)
        # False, and made of a draw that most planners do not use: a compiler leaves out what is not
        # used, and all later draws would be others than the agent's.
        fresh = noise.plan.select < 0
        return action, replace(state, plan=replace(plan_state, fresh=fresh))

    def _follow(self, observation: Tensor, state: ActorState) -> tuple[Tensor, ActorState]:
        # The policy's mode: no noise is drawn, and no generator is asked.
        action, state, _ = self.actor.choose(observation, state, torch.default_generator)
        return action, state

    def _packed(self, state: ActorState) -> Tensor:
        parts = self._kept(state)
        return torch.cat([part.reshape(len(part), -1).float() for part in parts], 1)

    def _unpacked(self, state: Tensor, batch: int) -> ActorState:
        given = [
            part.view(batch, *like.shape[1:]).to(like.dtype)
            for part, like in zip(torch.split(state, self.sizes, 1), self.parts, strict=True)
        ]
        observations, actions, valid, *plan = given
        before = self.actor.initial(batch)
        if plan:
            mean, elites, begun, *promise = plan
            state_of_plan = PlanState(mean, elites, ~begun)
            before = replace(before, plan=state_of_plan, promise=Promise(*promise))
        return replace(before, observations=observations, actions=actions, valid=valid)

    def _scaled(self, action: Tensor) -> Tensor:
        """As `ActionSpec.scaled`, of tensors."""
        s = self.spec
        if s.choices is not None:
            assert s.first is not None
            chosen = Categorical(s.choices).chosen(action) + torch.tensor(s.first)
            if s.kind == "multi_binary":
                return chosen.to(torch.int8)
            return chosen[:, 0] if s.kind == "discrete" else chosen
        low, high = torch.tensor(s.low), torch.tensor(s.high)
        return (low + (high - low) * (action + 1) / 2).clamp(low, high)


def obstacle(actor: AgentActor) -> str | None:
    """Why the actor's decisions cannot be exported, or None."""
    c = actor.controller
    if not isinstance(actor, PlanningActor | PolicyActor):
        return "expected the planner or the policy to be exported"
    if c.heads is None:
        return "a decision that steps a simulator cannot be exported; expected a learned model"
    if isinstance(actor, PolicyActor):
        return None
    if c.objective is not None:
        return (
            "a cost that is a Python function cannot be exported; expected plans for the learned "
            "return or, after agent.aim(goal), for a goal"
        )
    if c.planner.differentiates:
        return (
            f"planner.kind={c.planner.config.kind} follows gradients, which an exported decision "
            "has none of; expected another planner"
        )
    return None


def _past(state: ActorState) -> tuple[Tensor, ...]:
    """What is remembered of the steps before, each (B, ...)."""
    return state.observations, state.actions, state.valid


def _past_and_plan(state: ActorState) -> tuple[Tensor, ...]:
    """The same and what one plan leaves to the next; zeros where an episode begins."""
    plan, promise = state.plan, state.promise
    told = promise.rest, promise.owed, promise.turn
    return *_past(state), plan.mean, plan.elites, ~plan.fresh, *told
