"""Who acts with an agent: the planner, the policy alone, random actions, none.

Shapes: B environments, D observation, A action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from worldplan.agent.acting.actor_state import ActorState
from worldplan.agent.acting.controller import Controller
from worldplan.agent.acting.promise import Promise
from worldplan.agent.data.batch import sent
from worldplan.planners import Plan


class State(Protocol):
    """What an actor remembers of B episodes."""

    def begin(self, mask: Tensor, goal: Tensor | None = None) -> Self:
        """Episodes begin where mask (B,) is true, with goals (B, D) if the task has any."""


S = TypeVar("S", bound=State)


class Actor(Protocol[S]):
    """Chooses actions. Its state goes in and comes back out."""

    def initial(self, batch: int) -> S:
        """Before the first episodes of B environments."""

    def act(
        self, observation: Tensor, state: S, generator: torch.Generator
    ) -> tuple[Tensor, S, Plan | None]:
        """Actions (B, A) on observations (B, D), and the plan behind them if there is one."""


class AgentActor(ABC):
    """An actor that shares its state with others of the same agent: one may go on for another."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    def initial(self, batch: int) -> ActorState:
        c = self.controller
        past, width = c.model.context - 1, c.planner.actions.size
        shape, device = c.model.spec.observation.shape, c.device
        dtype = getattr(torch, c.model.spec.observation.dtype)
        return ActorState(
            c.planner.initial_state(batch, device),
            torch.zeros(batch, past, *shape, dtype=dtype, device=device),
            torch.zeros(batch, past, width, device=device),
            torch.zeros(batch, past, dtype=torch.bool, device=device),
            torch.zeros(batch, width, device=device),
            Promise.initial(batch, device),
        )

    @torch.no_grad()
    def act(
        self, observation: Tensor, state: ActorState, generator: torch.Generator
    ) -> tuple[Tensor, ActorState, Plan | None]:
        shape = self.controller.model.spec.observation.shape
        if observation.shape[1:] != shape:  # it could be broadcast
            raise ValueError(f"expected observations (B, *{shape}), got {tuple(observation.shape)}")
        observation = sent(observation, self.controller.device)
        action, state, plan = self.choose(observation, state, generator)
        state = state.remember(observation, action)
        if plan is None:
            return action.cpu(), state, plan
        told = torch.cat([action, plan.failed[:, None]], 1).cpu()  # a GPU is waited for once
        replace(plan, failed=told[:, -1]).check()
        return told[:, :-1], state, plan

    @abstractmethod
    def choose(
        self, observation: Tensor, state: ActorState, generator: torch.Generator
    ) -> tuple[Tensor, ActorState, Plan | None]:
        """Everything but remembering what was seen and done."""


@dataclass(frozen=True)
class Exploration:
    """Noise as wide as the plan is unsure, but at least `min_std`, in all but greedy episodes.

    TD-MPC2 adds noise with the standard deviation of the plan's first action. A plan may be sure
    and wrong: it then plays the same bad episode again and again, and nothing new is learned. For
    the same reason the plan of a share of these episodes is an elite, as likely as its weight: one
    way of several to go on, where their mean is always the same one. In TD-MPC2 all are. Here none
    is once an episode has terminated: one of several ways leads to a fall more often than what they
    have in common, and a hopper that fell with most of them learned to stand still.

    Noise hides where plans lead without it: a lander whose engines fire at random never comes to
    rest, and one that does is all that an evaluation is for. So a share of episodes may be played
    as in an evaluation. Of Ape-X's actors, too, each explores another amount (Horgan et al. 2018,
    https://arxiv.org/abs/1803.00933). Several environments are planned for as one batch: for all
    of them it is as the episode of the first one has it.
    """

    min_std: float
    correlation: float  # from decision to decision
    greedy: float  # share of episodes that explore nothing
    elites: float  # share of the others whose plans are elites, as long as none has terminated


class PlanningActor(AgentActor):
    """Executes the first action of each plan.

    `exploration` is for training; evaluations never set it. With `explain` plans carry their
    predictions step by step and statistics of the search; they are then made uncompiled in
    float32, which is slow.
    """

    def __init__(
        self,
        controller: Controller,
        *,
        exploration: Exploration | None = None,
        explain: bool = False,
    ) -> None:
        super().__init__(controller)
        self.exploration, self.explain = exploration, explain

    def choose(
        self, observation: Tensor, state: ActorState, generator: torch.Generator
    ) -> tuple[Tensor, ActorState, Plan | None]:
        c = self.controller
        goal = c.goal if state.goal is None else state.goal
        noise = c.draw_noise(len(observation), generator)
        if (e := self.exploration) is not None:
            if state.begins:
                elites = 0.0 if c.ended else e.elites
                state = state.draw_kind(e.greedy, elites, generator)
            e = None if state.greedy else e
        explore = e is not None
        how = self.explain, explore, explore and state.elites
        plan, plan_state = c(observation, state, noise, goal, c.objective, *how)
        if e is None:
            action, state = c.settle(plan, observation, state, noise, goal)
            return action, replace(state, plan=plan_state), plan
        state = state.explore(e.correlation, generator)
        mean, std = plan_state.mean[:, 0], plan.std[:, 0]
        action = c.planner.actions.explore(plan.action, mean, std, e.min_std, state.noise)
        return action, replace(state, plan=plan_state), plan


class PolicyActor(AgentActor):
    """Executes the mode of the policy, without planning."""

    def choose(
        self, observation: Tensor, state: ActorState, generator: torch.Generator
    ) -> tuple[Tensor, ActorState, Plan | None]:
        return self.controller.follow(observation, state), state, None


class RandomActor(AgentActor):
    """Uniform actions; with a correlation, each is likely to be near the last one."""

    def __init__(self, controller: Controller, *, correlation: float = 0.0) -> None:
        super().__init__(controller)
        self.correlation = correlation

    def choose(
        self, observation: Tensor, state: ActorState, generator: torch.Generator
    ) -> tuple[Tensor, ActorState, Plan | None]:
        state = state.explore(self.correlation, generator)
        return self.controller.planner.actions.random(state.noise), state, None


class ZeroActor(AgentActor):
    """Does nothing: the action is 0, or the first choice."""

    def choose(
        self, observation: Tensor, state: ActorState, generator: torch.Generator
    ) -> tuple[Tensor, ActorState, Plan | None]:
        actions = self.controller.planner.actions
        zero = observation.new_zeros(len(observation), actions.size)
        return actions.executable(zero), state, None


ACTORS = ("planner", "policy", "random", "zero")


def make_actor(
    name: str, controller: Controller, exploration: Exploration | None, explain: bool
) -> AgentActor:
    """The actor of a name. Raises ValueError if no actor has it."""
    correlation = 0.0 if exploration is None else exploration.correlation
    makers: dict[str, Callable[[Controller], AgentActor]] = {
        "planner": partial(PlanningActor, exploration=exploration, explain=explain),
        "policy": PolicyActor,
        "random": partial(RandomActor, correlation=correlation),
        "zero": ZeroActor,
    }
    if name not in makers:
        raise ValueError(f"expected an actor of {', '.join(ACTORS)}, got {name!r}")
    return makers[name](controller)


class Switch(AgentActor):
    """One actor as long as `first_acts` says so, then another of the same agent."""

    def __init__(
        self, first: AgentActor, second: AgentActor, first_acts: Callable[[], bool]
    ) -> None:
        super().__init__(second.controller)
        self.first, self.second, self.first_acts = first, second, first_acts

    def choose(
        self, observation: Tensor, state: ActorState, generator: torch.Generator
    ) -> tuple[Tensor, ActorState, Plan | None]:
        now = self.first if self.first_acts() else self.second
        return now.choose(observation, state, generator)
