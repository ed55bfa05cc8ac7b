"""Evaluation: held-out episodes, all planned as one batch, never explored.

Shapes: B episodes, D observation, A action.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from worldplan.agent.agent import Actor, Agent
from worldplan.envs import VectorEnv


@dataclass(frozen=True)
class Evaluation:
    """What B episodes gave."""

    actor: Actor
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
    actor: Actor = "planner",
    watch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Runs one episode per seed; B = env.num_envs must be their number.

    Where the task sets a goal, the agent aims at it, unless it was given an objective.

    `watch` is called with the number of decisions made so far.
    """
    if len(seeds) != env.num_envs:
        raise ValueError(f"expected {env.num_envs} seeds, one per environment, got {len(seeds)}")
    began = time.perf_counter()
    batch = env.num_envs
    # Of its own, so that evaluating does not change how training goes on.
    generator = torch.Generator().manual_seed(seeds[0])
    state = agent.initial(batch)
    observation = env.reset(seeds)
    running = np.ones(batch, np.bool_)
    ended = np.zeros(batch, np.bool_)
    returns, realised = np.zeros(batch), np.zeros(batch)
    lengths, weight = np.zeros(batch, np.int64), 1.0
    promised: list[NDArray[np.float64]] = []
    rewards: list[NDArray[np.float64]] = []
    with agent.aiming(env.goals()):
        while running.any():
            action, state, plan = agent.step(
                torch.from_numpy(observation), state, generator, actor=actor
            )
            promise = np.full(batch, np.nan) if plan is None else -plan.cost.double().numpy()
            promised.append(np.where(running, promise, np.nan))
            observation, reward, terminated, truncated = env.step(action.numpy(), running)
            rewards.append(reward.astype(np.float64))
            returns += reward
            realised += weight * reward
            weight *= agent.config.discount
            lengths += running
            ended |= terminated
            running &= ~(terminated | truncated)
            if watch is not None:
                watch(int(lengths.max()))
    seconds = time.perf_counter() - began
    return Evaluation(
        actor, seeds, returns, lengths, ended, seconds,
        promised[0], realised, np.stack(promised), np.stack(rewards),
    )  # fmt: skip
