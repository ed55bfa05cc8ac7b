"""Evaluation: held-out episodes, all planned as one batch, never explored.

Shapes: B episodes, D observation, A action.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldplan.agent.acting.actors import Actor
from worldplan.agent.acting.rollout import Reset, rollout
from worldplan.agent.agent import Agent
from worldplan.envs import VectorEnv


@dataclass(frozen=True)
class Evaluation:
    """What B episodes gave."""

    actor: str
    seeds: list[int]
    returns: NDArray[np.float64]  # (B,) undiscounted
    lengths: NDArray[np.int64]  # (B,) decisions
    terminated: NDArray[np.bool_]  # (B,) ended by the task, not by its time limit
    seconds: float  # wall time
    predicted: NDArray[np.float64]  # (B,) return that the first plan promised, discounted
    realised: NDArray[np.float64]  # (B,) what came, discounted alike
    promised: NDArray[np.float64]  # (T, B) by each decision's plan; NaN where there was none
    rewards: NDArray[np.float64]  # (T, B)


def evaluate(
    agent: Agent,
    env: VectorEnv,
    seeds: list[int],
    actor: str | Actor[Any] = "planner",
    watch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Plays one episode per seed; B = env.num_envs must be their number.

    Where the task sets a goal, the agent aims at it, unless it was given a cost.

    Args:
        actor: one of the agent's by its name, or another.
        watch: called with the number of decisions made so far.
    """
    if len(seeds) != env.num_envs:
        raise ValueError(f"expected {env.num_envs} seeds, one per environment, got {len(seeds)}")
    began = time.perf_counter()
    who = agent.actor(actor) if isinstance(actor, str) else actor
    batch = env.num_envs
    ended = np.zeros(batch, np.bool_)
    returns, realised = np.zeros(batch), np.zeros(batch)
    lengths, weight = np.zeros(batch, np.int64), 1.0
    promised: list[NDArray[np.float64]] = []
    rewards: list[NDArray[np.float64]] = []
    # A generator of its own, so that evaluating does not change how training goes on.
    for event in rollout(who, env, seeds, agent.generator(seeds[0])):
        if isinstance(event, Reset):
            continue
        plan = event.plan
        promise = np.full(batch, np.nan) if plan is None else -plan.cost.cpu().double().numpy()
        promised.append(np.where(event.active, promise, np.nan))
        rewards.append(event.reward.astype(np.float64))
        returns += event.reward
        realised += weight * event.reward
        weight *= agent.config.discount
        lengths += event.active
        ended |= event.terminated
        if watch is not None:
            watch(int(lengths.max()))
    name = actor if isinstance(actor, str) else type(actor).__name__
    seconds = time.perf_counter() - began
    return Evaluation(
        name, seeds, returns, lengths, ended, seconds,
        promised[0], realised, np.stack(promised), np.stack(rewards),
    )  # fmt: skip
