"""Evaluation: held-out episodes without exploration, all planned as one batch.

Shapes: B episodes, D observation, A action.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldplan.agent.acting.actors import Actor
from worldplan.agent.acting.rollout import Reset, rollout
from worldplan.agent.agent import Agent
from worldplan.agent.evaluation.statistics import summary
from worldplan.envs import VectorEnv

NO_LIMIT = 1000  # decisions of an episode where the environment has no time limit


@dataclass(frozen=True)
class Evaluation:
    """Results of B episodes."""

    actor: str
    seeds: list[int]
    returns: NDArray[np.float64]  # (B,) undiscounted
    lengths: NDArray[np.int64]  # (B,) decisions
    terminated: NDArray[np.bool_]  # (B,) ended by the task, not by its time limit
    seconds: float  # wall time
    predicted: NDArray[np.float64]  # (B,) discounted return that the first plan predicted
    realised: NDArray[np.float64]  # (B,) discounted return
    plan_returns: NDArray[np.float64]  # (T, B) that each plan predicted; NaN without a plan
    rewards: NDArray[np.float64]  # (T, B)

    def summary(self) -> dict[str, Any]:
        """Mean, interval and more of the returns, as JSON: see `statistics.summary`."""
        return summary(self.returns, self.seeds)


def evaluate(
    agent: Agent,
    env: VectorEnv,
    seeds: list[int],
    actor: str | Actor[Any] = "planner",
    watch: Callable[[int], None] | None = None,
    *,
    longest: int | None = None,
) -> Evaluation:
    """Plays one episode per seed; B = env.num_envs.

    Where the task sets a goal, the agent plans for it, unless the agent was given a cost.

    Args:
        actor: the name of one of the agent's actors, or any actor.
        watch: called with the number of decisions made so far.
        longest: decisions after which an episode is cut; default: the environment's time limit,
            or 1000. Warns where one is cut.

    Raises:
        ValueError: not one seed per environment.
    """
    if len(seeds) != env.num_envs:
        raise ValueError(f"expected {env.num_envs} seeds, one per environment, got {len(seeds)}")
    began = time.perf_counter()
    who = agent.actor(actor) if isinstance(actor, str) else actor
    batch, longest = env.num_envs, longest or env.max_episode_steps or NO_LIMIT
    over = np.zeros(batch, np.bool_)
    ended = np.zeros(batch, np.bool_)
    returns, realised = np.zeros(batch), np.zeros(batch)
    lengths, weight = np.zeros(batch, np.int64), 1.0
    costs: list[Tensor] = []  # where they were computed
    acting: list[NDArray[np.bool_]] = []
    rewards: list[NDArray[np.float64]] = []
    # A generator of its own: an evaluation does not change the training run.
    events = rollout(who, env, seeds, agent.generator(seeds[0]))
    for event in islice(events, 1 + longest):
        if isinstance(event, Reset):
            continue
        plan = event.plan
        costs.append(torch.full((batch,), torch.nan) if plan is None else plan.cost)
        acting.append(event.active)
        rewards.append(event.reward.astype(np.float64))
        returns += event.reward
        realised += weight * event.reward
        weight *= agent.config.discount
        lengths += event.active
        ended |= event.terminated
        over |= event.done
        if watch is not None:
            watch(int(lengths.max()))
    if not over.all():
        warnings.warn(
            f"{np.count_nonzero(~over)} of {batch} held-out episodes were cut after {longest:,} "
            "decisions; eval_max_steps sets how many",
            stacklevel=2,
        )
    name = actor if isinstance(actor, str) else type(actor).__name__
    predicted = -torch.stack(costs).cpu().double().numpy()
    plan_returns = np.where(np.stack(acting), predicted, np.nan)
    seconds = time.perf_counter() - began
    return Evaluation(
        name, seeds, returns, lengths, ended, seconds,
        plan_returns[0], realised, plan_returns, np.stack(rewards),
    )  # fmt: skip
