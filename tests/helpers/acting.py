"""One step of an agent's actor."""

from typing import Any

import torch
from torch import Tensor

from worldplan.agent.acting.actor_state import ActorState
from worldplan.agent.agent import Agent
from worldplan.planners import Plan


def initial(agent: Agent, batch: int) -> ActorState:
    return agent.actor().initial(batch)


def take(
    agent: Agent,
    x: Tensor,
    state: ActorState,
    generator: torch.Generator,
    actor: str = "planner",
    **how: Any,
) -> tuple[Tensor, ActorState, Plan | None]:
    """Actions on observations (B, D), the next state, and the plan."""
    return agent.actor(actor, **how).act(x, state, generator)
