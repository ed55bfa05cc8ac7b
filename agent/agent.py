"""The agent: model, heads and planner put together, and who acts with them.

What acts holds no optimiser: it can be pickled and sent to another process. What trains it comes
from `Agent.make_learner`.

Shapes: B environments, D observation, A action, T horizon, R imagined rows, F features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from worldplan.agent.acting.actor_state import ActorState
from worldplan.agent.acting.actors import AgentActor, Exploration, PlanningActor, make_actor
from worldplan.agent.acting.controller import Controller
from worldplan.agent.acting.objective import DecodedCost, LearnedReturn, Objective, TrueReturn
from worldplan.agent.acting.spaces import action_space
from worldplan.agent.learning.compiling import Execution
from worldplan.agent.learning.heads import Heads, HeadsConfig
from worldplan.agent.learning.learner import Learner, LearnerConfig
from worldplan.agent.models.jepa import JEPAConfig
from worldplan.agent.models.networks import placed, under
from worldplan.agent.models.registry import ModelConfigUnion, make_model
from worldplan.agent.models.world_model import LearnedModel
from worldplan.envs import EnvironmentSpec
from worldplan.planners import PlannerConfigUnion, make_planner
from worldplan.planners.mppi import MPPIConfig


class AgentConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    discount: float = Field(default=0.99, gt=0, lt=1, description="per decision")
    proposals: int = Field(default=16, ge=0, le=10_000, description="the policy's plans")
    terminal_value: bool = Field(default=True, description="plans end in the policy's value")
    value_depths: int = Field(
        default=0, ge=0, le=100, description="steps of the policy after plans without exploration"
    )
    shortfall: float = Field(
        default=0, ge=0, le=100, description="see `Promise`: debt, in spreads of values; 0: any"
    )
    policy_turn: int = Field(default=25, ge=1, le=10_000, description="decisions that it acts then")
    noise_correlation: float = Field(
        default=0.0, ge=0, lt=1, description="of exploration noise from step to step; 0: white"
    )
    noise_min_std: float = Field(
        default=0.2, ge=0, le=2, description="least std of noise; squared: share of random choices"
    )
    greedy_episodes: float = Field(default=0, ge=0, le=1, description="share without exploration")
    sample_elite: float = Field(
        default=0, ge=0, le=1, description="share of episodes that execute elites; see Exploration"
    )
    ema_rate: float = Field(
        default=0.002, gt=0, le=1, description="of the acting weights' moving average; 1: at once"
    )
    model: ModelConfigUnion = Field(default_factory=JEPAConfig)
    heads: HeadsConfig = Field(default_factory=HeadsConfig)
    learner: LearnerConfig = Field(default_factory=LearnerConfig)
    planner: PlannerConfigUnion = Field(default_factory=MPPIConfig)


class Agent:
    """Plans and acts in one kind of environment.

    A model that learns nothing, as a simulator, comes without heads: it has no policy, and its
    plans are for the true return.
    """

    def __init__(
        self,
        config: AgentConfig,
        spec: EnvironmentSpec,
        execution: Execution = Execution(),  # noqa: B008 (frozen)
    ) -> None:
        self.config, self.spec, self.execution = config, spec, execution
        actions = action_space(spec.action)
        self.model = make_model(config.model, spec)
        self._heads: Heads | None = None
        default: Objective | None = TrueReturn(config.discount)
        if isinstance(self.model, LearnedModel):
            self._heads = placed(Heads(config.heads, self.model, actions), execution.device)
            reward = config.learner.task_heads
            returns = LearnedReturn(
                self._heads, config.discount, config.terminal_value, self.model, config.value_depths
            )
            default = returns if reward else None
        placed(self.model, execution.device)
        planner = make_planner(config.planner, actions)
        self.controller = Controller(
            self.model, self._heads, planner, default, config.proposals, execution,
            config.shortfall, config.policy_turn,
        )  # fmt: skip
        # Acting needs no gradients. A learner opens again what is trained.
        parts = [self.model] if self._heads is None else [self.model, self._heads]
        self._trained = [p for part in parts for p in part.parameters() if p.requires_grad]
        for part in parts:
            part.requires_grad_(False)
        self._state: ActorState | None = None
        self._generator = self.generator(0)

    @property
    def heads(self) -> Heads:
        """Raises ValueError if the agent learns nothing."""
        if self._heads is None:
            raise ValueError(
                f"model.kind={self.config.model.kind} learns nothing, so there is no policy or "
                "value; expected actor planner, random or zero"
            )
        return self._heads

    @property
    def learns(self) -> bool:
        """Whether there is anything to train."""
        return self._heads is not None

    @property
    def has_policy(self) -> bool:
        """Whether a policy is learned: not from triples alone, and not in a simulator."""
        return self.learns and self.config.learner.task_heads

    def make_learner(self) -> Learner:
        """What trains this agent: a copy, which the agent's weights then follow.

        Raises:
            ValueError: the agent learns nothing.
        """
        heads = self.heads
        assert isinstance(self.model, LearnedModel), "heads stand on a learned model"
        for p in self._trained:
            p.requires_grad_(True)
        c = self.config
        return Learner(c.learner, (self.model, heads), c.discount, c.ema_rate, self.execution)

    def actor(
        self, name: str = "planner", *, explore: bool = False, explain: bool = False
    ) -> AgentActor:
        """Who acts: `planner`, `policy`, `random` or `zero`. They share their state.

        `explore` is for training, `explain` is the planner's: see `PlanningActor`.

        Raises:
            ValueError: no such actor, or a policy where none was learned.
        """
        c = self.config
        how = c.noise_min_std, c.noise_correlation, c.greedy_episodes, c.sample_elite
        exploration = Exploration(*how) if explore else None
        actor = make_actor(name, self.controller, exploration, explain)
        if name == "policy" and self.heads and not self.has_policy:
            raise ValueError(
                "the policy of an agent that learned no reward has nothing to act for; expected "
                "the planner after agent.aim(goal) or agent.minimise(cost, decode)"
            )
        return actor

    def generator(self, seed: int) -> torch.Generator:
        """Random numbers on the device where the agent draws them."""
        return torch.Generator(self.execution.device).manual_seed(seed)

    def aim(self, goal: Any) -> None:
        """From now on plans for the least distance to a goal, summed over time.

        It is the distance of embeddings, in units of what a step moves them: see `distance.ruler`.

        Args:
            goal: as for `act`, one or one for each of B plans; it is copied. None: plans for the
                learned return again.

        Raises:
            ValueError: an observation of another shape, or one that is not finite.
        """
        self.controller.objective = self.controller.goal = None
        if goal is not None:
            x = torch.tensor(self.spec.observation.check(goal))
            self.controller.goal = x.reshape(-1, *self.spec.observation.shape).to(self.device)

    def minimise(
        self, cost: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]
    ) -> None:
        """From now on plans for the least cost of decoded observations, summed over the horizon.

        Both functions may be anything: a decision is not compiled then. They get tensors, and may
        return tensors or NumPy arrays of any real type.

        Args:
            cost: of observations (T, R, D), R futures side by side -> (T, R); lower is better.
            decode: features (T, R, F) -> observations (T, R, D), as `probe.fit_probe` fits it.
        """
        self.controller.goal = None
        self.controller.objective = DecodedCost(cost, decode)

    def act(self, observation: Any, *, scaled: bool | None = None) -> Any:
        """Best action (A,) for an observation (D,), (B, A) for a batch (B, D), or dicts of parts.

        Plans from where the last call left off; call `reset` where an episode starts. `scaled`
        actions are as the environment's own: it was not made by `make_env`. Without a word, a
        warning says so where these are others. See `ActionSpec`.

        Raises:
            ValueError: an observation of another shape, or not finite; or bounds are not known.
        """
        shape = self.spec.observation.shape
        # A copy, always laid out alike: products of other layouts are rounded otherwise.
        x = torch.tensor(self.spec.observation.check(observation))
        batch = x.reshape(-1, *shape)
        actor = PlanningActor(self.controller)
        if self._state is None:
            self._state = actor.initial(len(batch))
        elif len(self._state.plan.mean) != len(batch):
            raise ValueError(
                f"expected {len(self._state.plan.mean)} observations as in the last call, got "
                f"{len(batch)}; call reset() before the number of environments changes"
            )
        action, self._state, _ = actor.act(batch, self._state, self._generator)
        found = action.numpy().reshape(*x.shape[: x.ndim - len(shape)], -1).copy()
        return self.spec.action.given(found, scaled)

    def reset(self, mask: npt.ArrayLike | None = None, *, seed: int = 0) -> None:
        """Forgets the last episode: of all, and the same seed then gives the same actions.

        Args:
            mask: bool (B,), whose episodes are forgotten. The others go on, and so do the random
                numbers. Raises ValueError for another shape or type.
        """
        if mask is None:
            self._state = None
            self._generator = self.generator(seed)
            return
        if self._state is not None:
            self._state = self._state.begin(torch.tensor(mask), self._state.goal)

    @property
    def device(self) -> torch.device:
        return self.execution.device

    def on_cpu(self) -> Agent:
        """A copy on the CPU, with the same aim; the agent itself if it is there already."""
        if self.device.type == "cpu":
            return self
        return _rebuilt(*self.__reduce__()[1])

    def again(self) -> Callable[..., Agent]:
        """Makes another one, with other weights, of a spec and an `Execution`."""
        return partial(Agent, self.config)

    def weights(self) -> dict[str, Tensor]:
        """Everything that acting needs, by name: of model, normaliser and heads."""
        found = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        if self._heads is not None:
            found |= {f"heads.{k}": v for k, v in self._heads.state_dict().items()}
            found["ruler"] = self.controller.ruler
        return found

    def load_weights(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of `weights`; other entries of `tensors` do no harm."""
        self.model.load_state_dict(under("model.", tensors))
        if self._heads is not None:
            self._heads.load_state_dict(under("heads.", tensors))
            plain = torch.eye(self.model.embedding_dim)  # older checkpoints measured no steps
            self.controller.ruler.copy_(tensors.get("ruler", plain))

    def __reduce__(self) -> tuple[Any, ...]:
        """What acts goes to another process, with its aim; on the CPU also where an episode is."""
        tensors = {k: v.cpu() for k, v in self.weights().items()}
        goal = self.controller.goal
        aim = None if goal is None else goal.cpu(), self.controller.objective
        here = (self._state, self._generator.get_state()) if self.device.type == "cpu" else None
        return _rebuilt, (self.again(), self.spec, tensors, aim, here)

    def __deepcopy__(self, memo: dict[int, Any]) -> Agent:
        """As `__reduce__`, and on the same device."""
        rebuild, parts = self.__reduce__()
        copied: Agent = rebuild(*copy.deepcopy(parts, memo), self.execution)
        return copied


def _rebuilt(
    again: Callable[..., Agent],
    spec: EnvironmentSpec,
    tensors: dict[str, Tensor],
    aim: tuple[Tensor | None, Objective | None],
    here: tuple[ActorState | None, Tensor] | None,
    execution: Execution = Execution(),  # noqa: B008 (frozen)
) -> Agent:
    with torch.random.fork_rng(devices=[]):  # the first weights, which are replaced
        agent = again(spec, execution)
    agent.load_weights(tensors)
    goal, agent.controller.objective = aim
    agent.controller.goal = None if goal is None else goal.to(agent.device)
    if here is not None:
        agent._state = here[0]
        agent._generator.set_state(here[1])
    return agent
