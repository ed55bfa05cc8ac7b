"""The agent: act by a decision of model, heads and planner; learn from batches.

Shapes: B environments, C = context - 1 remembered steps, D observation, A action, T horizon,
R imagined rows, F features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from worldplan.agent.acting.actor_state import ActorState
from worldplan.agent.acting.controller import Decision
from worldplan.agent.acting.objective import Purpose, as_observation, decoded
from worldplan.agent.data.replay import Batch
from worldplan.agent.learning.compiling import Execution
from worldplan.agent.learning.heads import Heads, HeadsConfig
from worldplan.agent.learning.learner import Learner, LearnerConfig
from worldplan.agent.models.jepa import JEPAConfig
from worldplan.agent.models.registry import ModelConfigUnion, make_model
from worldplan.agent.models.simulator import check_search, is_simulator, with_defaults
from worldplan.agent.models.world_model import LearnedModel
from worldplan.envs import Simulator
from worldplan.planners import Plan, PlannerConfigUnion, make_planner
from worldplan.planners.mppi import MPPIConfig

Actor = Literal["planner", "policy", "random"]
L = TypeVar("L", Heads, Learner)


class AgentConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    discount: float = Field(default=0.99, gt=0, lt=1, description="per decision")
    proposals: int = Field(default=16, ge=0, description="plans that the policy proposes")
    average: float = Field(
        default=0.002, gt=0, le=1, description="speed at which acting weights follow; 1: at once"
    )
    model: ModelConfigUnion = Field(default_factory=JEPAConfig)
    heads: HeadsConfig = Field(default_factory=HeadsConfig)
    learner: LearnerConfig = Field(default_factory=LearnerConfig)
    planner: PlannerConfigUnion = Field(default_factory=MPPIConfig)

    @model_validator(mode="before")
    @classmethod
    def _a_simulator_has_other_defaults(cls, values: Any) -> Any:
        simulates = isinstance(values, dict) and is_simulator(values.get("model"))
        return with_defaults(values) if simulates else values

    @model_validator(mode="after")
    def _a_simulator_has_neither_slope_nor_policy(self) -> AgentConfig:
        if is_simulator(self.model):
            check_search(self.planner, self.proposals)
        return self


class Agent:
    """Model, heads, learner and planner for one kind of environment.

    `model` and `heads` are what acts: a running average of what the learner trains. A simulator
    has neither heads nor learner.
    """

    decides = Decision

    def __init__(
        self,
        config: AgentConfig,
        observation_dim: int,
        action_dim: int,
        execution: Execution = Execution(),  # noqa: B008 (frozen)
        simulator: Simulator | None = None,
    ) -> None:
        self.config = config
        self.observation_dim, self.action_dim = observation_dim, action_dim
        self.model = make_model(config.model, observation_dim, action_dim, simulator)
        self.planner = make_planner(config.planner)
        self.averaging = config.average < 1
        self._heads: Heads | None = None
        self._learner: Learner | None = None
        if isinstance(self.model, LearnedModel):
            self._heads, self._learner = self._learning(self.model, execution)
        self.decision = self.decides(
            self.model, self._heads, self.planner, config.discount, config.proposals, execution
        )
        self._generator = torch.Generator().manual_seed(0)
        self._state: ActorState | None = None
        self.purpose = Purpose()

    def aim(self, goal: npt.ArrayLike | None) -> None:
        """From now on plans for the least distance of embeddings to a goal's, summed over time.

        Args:
            goal: an observation (D,), or one for each of B plans (B, D). None: plans for the
                learned return again.

        Raises:
            ValueError: an observation of another shape, or one that is not finite.
        """
        self.purpose = Purpose()
        if goal is not None:
            x = as_observation(goal, self.observation_dim)
            self.purpose = Purpose(x.reshape(-1, self.observation_dim))

    @contextmanager
    def aiming(self, goals: npt.ArrayLike | None) -> Iterator[None]:
        """Within it the agent aims where a task sets goals, unless it was given an objective."""
        before = self.purpose
        if goals is not None and before.objective is None:
            self.aim(goals)
        try:
            yield
        finally:
            self.purpose = before

    def minimise(
        self, cost: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]
    ) -> None:
        """From now on plans for the least cost of decoded observations, summed over the horizon.

        Both functions may be anything: a decision is not compiled then.

        Args:
            cost: of observations (T, R, D), R futures side by side -> (T, R); lower is better.
            decode: features (T, R, F) -> observations (T, R, D), as `probe.fit_probe` fits it.
        """
        self.purpose = Purpose(objective=decoded(cost, decode))

    def _learning(self, model: LearnedModel, execution: Execution) -> tuple[Heads, Learner]:
        """The heads that act, and the learner of what acts."""
        c = self.config
        heads = Heads(
            c.heads, model.feature_dim, model.latent_dim, self.action_dim, model.uses_action
        )
        # Acting follows the weights that are trained, which are bad at moments.
        trained, trained_heads = model, heads
        if self.averaging:
            trained, trained_heads = copy.deepcopy(model), copy.deepcopy(heads)
            trained.normaliser = model.normaliser
            model.requires_grad_(False)
            heads.requires_grad_(False)
        return heads, Learner(c.learner, trained, trained_heads, c.discount, execution)

    @property
    def learns(self) -> bool:
        """Whether there is anything to train: not in a simulator."""
        return self._learner is not None

    @property
    def learner(self) -> Learner:
        """Raises ValueError if the agent does not learn."""
        return self._learnt("learner", self._learner)

    @property
    def heads(self) -> Heads:
        """Raises ValueError if the agent does not learn."""
        return self._learnt("policy or value", self._heads)

    def _learnt(self, what: str, part: L | None) -> L:
        if part is None:
            raise ValueError(
                f"model.kind={self.config.model.kind} learns nothing, so there is no {what}; "
                "expected actor planner or random"
            )
        return part

    def initial(self, batch: int) -> ActorState:
        """What acting remembers before the first step of B environments."""
        past = self.model.context - 1
        return ActorState(
            self.planner.initial_state(batch, self.action_dim),
            torch.zeros(batch, past, self.observation_dim),
            torch.zeros(batch, past, self.action_dim),
            torch.zeros(batch, past, dtype=torch.bool),
        )

    @torch.no_grad()
    def step(
        self,
        observation: Tensor,
        state: ActorState,
        generator: torch.Generator,
        *,
        explore: bool = False,
        actor: Actor = "planner",
        explain: bool = False,
    ) -> tuple[Tensor, ActorState, Plan | None]:
        """Chooses actions (B, A) for observations (B, D).

        `explore` adds noise as wide as the planner is unsure (TD-MPC2); an evaluation never sets
        it. With `explain` the plan carries what it promises step by step and how the search went;
        it is then made slowly, uncompiled in float32. The plan is None unless the planner acts.

        Raises:
            ValueError: nothing was learned or given to act for.
        """
        batch = observation.shape[0]
        self.purpose.check(actor, batch, self.config.learner.task_heads)
        plan: Plan | None = None
        if actor == "random":
            action = 2 * torch.rand(batch, self.action_dim, generator=generator) - 1
        elif actor == "policy":
            features = self.model.features(*state.filter(self.model, observation))
            action, _ = self.heads.act(features, torch.zeros(batch, self.action_dim))
        else:
            luck = self.decision.luck(batch, self.action_dim, generator)
            plan, plan_state = self.decision(observation, state, luck, self.purpose, explain)
            plan.check()
            state, action = replace(state, plan=plan_state), plan.action
            if explore:
                noise = torch.randn(action.shape, generator=generator)
                action = (action + plan.std[:, 0] * noise).clamp(-1, 1)
        return action, state.remember(observation, action), plan

    def update(
        self, batch: Batch, generator: torch.Generator, updates: int = 0
    ) -> dict[str, Tensor]:
        """One gradient step, after so many before; returns the learner's metrics."""
        metrics = self.learner.update(batch, generator)
        if self.averaging:
            # Early on, the average spans a tenth of the updates and not more.
            rate = max(self.config.average, 10 / (updates + 10))
            with torch.no_grad():  # or each average would remember all before it
                torch._foreach_lerp_(
                    [*self.model.parameters(), *self.heads.parameters()],
                    [*self.learner.model.parameters(), *self.learner.heads.parameters()],
                    rate,
                )
        return metrics

    def act(self, observation: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Best action in [-1, 1] for one observation (D,) or a batch (B, D).

        Plans from where the last call left off; call `reset()` where an episode starts.

        Raises:
            ValueError: an observation of another shape, or one that is not finite.
        """
        x = as_observation(observation, self.observation_dim)
        batch = x.reshape(-1, self.observation_dim)
        if self._state is None:
            self._state = self.initial(batch.shape[0])
        elif self._state.plan.mean.shape[0] != batch.shape[0]:
            raise ValueError(
                f"expected {self._state.plan.mean.shape[0]} observations as in the last call, got "
                f"{batch.shape[0]}; call reset() before the number of environments changes"
            )
        action, self._state, _ = self.step(batch, self._state, self._generator)
        return action.reshape(*x.shape[:-1], self.action_dim).numpy()

    def reset(self, seed: int = 0) -> None:
        """Forgets the last episode; the same seed then gives the same actions."""
        self._state = None
        self._generator.manual_seed(seed)
