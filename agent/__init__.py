"""The learner: world models, losses, replay, agent, training, evaluation, checkpoints, commands."""

from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.training.restore import load

__all__ = ["Agent", "AgentConfig", "load"]
