"""Episodes as they are played: the one loop of training, evaluation, filming and collecting.

Shapes: B environments, D observation, A action.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from worldplan.agent.acting.actors import Actor, AgentActor, S
from worldplan.envs import VectorEnv
from worldplan.planners import Plan

Mask = NDArray[np.bool_]
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Reset:
    """Episodes have begun. Observations are those of all environments."""

    mask: Mask  # (B,) where
    observation: Array  # (B, D)


@dataclass(frozen=True)
class Step:
    """One decision of each environment that is under way."""

    active: Mask  # (B,) which those are
    action: Array  # (B, A)
    observation: Array  # (B, D) after it, at an episode's end its true last one
    reward: Array  # (B,) 0 where not active
    terminated: Mask  # (B,) ended by the task
    truncated: Mask  # (B,) ended by its time limit
    plan: Plan | None  # behind the action; None unless an actor plans
    act_seconds: float  # that the actor took
    env_seconds: float  # that the environments took

    @property
    def done(self) -> Mask:
        """(B,) the episode is over."""
        return self.terminated | self.truncated


def rollout(
    actor: Actor[S],
    env: VectorEnv,
    seeds: Iterable[int],
    generator: torch.Generator,
    *,
    again: bool = False,
    longest: int | None = None,
) -> Iterator[Reset | Step]:
    """Plays one episode in each environment, or with `again` one after the other without end.

    Where the task sets goals, the actor is told them. To leave early, leave the loop.

    Args:
        seeds: of resets, taken one by one as episodes begin.
        generator: of what the actor draws, on its device.
        longest: decisions after which an episode is cut, as by a time limit.

    Raises:
        EnvironmentFault: the simulation broke.
        ValueError: an agent acts, and was trained in another environment.
    """
    if isinstance(actor, AgentActor):
        actor.controller.model.spec.check_same(env.spec)
    numbers, batch = iter(seeds), env.num_envs
    state = actor.initial(batch)
    active = waits = np.ones(batch, np.bool_)  # waits for its next episode
    left = np.zeros(batch)  # decisions, until it is cut
    while active.any():
        begins = waits if waits.all() else waits & env.ready
        if begins.any():
            observation = env.reset([next(numbers) if b else 0 for b in begins], begins)
            left[begins] = math.inf if longest is None else longest
            goals = env.goals()
            goal = None if goals is None else torch.from_numpy(goals)
            state = state.begin(torch.from_numpy(begins.copy()), goal)
            yield Reset(begins, observation)
        t0 = time.perf_counter()
        action, state, plan = actor.act(torch.from_numpy(observation), state, generator)
        chosen = action.numpy().copy()  # of the actor's memory
        t1 = time.perf_counter()
        acts = active & (begins | ~waits)
        observation, reward, terminated, truncated = env.step(chosen, acts)
        left -= acts
        truncated = truncated | (acts & ~terminated & (left <= 0))
        spent = t1 - t0, time.perf_counter() - t1
        step = Step(acts, chosen, observation, reward, terminated, truncated, plan, *spent)
        yield step
        waits = step.done | ~acts if again else np.zeros(batch, np.bool_)
        active = active if again else active & ~step.done
