"""Switching an agent to compiled code, and running it once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch

from worldplan.agent.acting.actors import Exploration, PlanningActor
from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.data.batch import Batch
from worldplan.agent.learning.compiling import Execution
from worldplan.agent.learning.learner import Learner


def switch(agent: Agent, execution: Execution) -> None:
    """From now on the agent decides as `execution` says, on its device."""
    assert execution.device == agent.device, "its weights are there"
    agent.execution = execution
    agent.controller.prepare(execution)


def rehearse(agent: Agent, learner: Learner, plans: Iterable[int]) -> None:
    """Runs the hot functions once, on zeros: what has to be compiled is compiled now.

    These are an update, and decisions for `plans` environments at once. The order is fixed, for
    PyTorch compiles for the first batch size, and then for all others. Nothing is changed by it.

    Args:
        plans: numbers of environments, of training first; none if nothing is to be acted for.
    """
    seen, width = agent.spec.observation, agent.spec.action.size
    c, before = learner.config, learner.model.context - 1
    learner.rehearse(Batch.blank(c.batch_size, before, c.horizon, seen, width))
    for i, batch in enumerate(plans):
        for exploration in _kinds(agent.config) if i == 0 else [None]:
            _decide(agent, batch, exploration)


def _kinds(c: AgentConfig) -> Iterator[Exploration | None]:
    """One of each kind of episode that there is in training: what they execute is compiled apart.

    Where some execute elites there are others too, if one terminates.
    """
    for elites in sorted({0, math.ceil(c.sample_elite)}):
        yield Exploration(min_std=0.0, correlation=0.0, greedy=0.0, elites=elites)
    if c.greedy_episodes:
        yield None


def _decide(agent: Agent, batch: int, exploration: Exploration | None) -> None:
    """As an episode does: begins, decides, decides from what the first decision left."""
    actor = PlanningActor(agent.controller, exploration=exploration)
    generator = agent.generator(0)
    seen = agent.spec.observation
    observation = torch.zeros(batch, *seen.shape, dtype=getattr(torch, seen.dtype))
    goal = torch.zeros(batch, *seen.shape) if agent.spec.sets_goals else None
    state = actor.initial(batch).begin(torch.ones(batch, dtype=torch.bool), goal)
    for _ in range(2):
        _, state, _ = actor.act(observation, state, generator)
