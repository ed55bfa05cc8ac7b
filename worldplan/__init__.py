"""An agent that plans in the world model it learns.

    import worldplan

    agent = worldplan.train("inverted-pendulum", steps=5000)  # or worldplan.load("runs/X")
    action = agent.act(observation)

In a checkout the folders beside this file are links to the sources at its root.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldplan.agent import Agent, load
    from worldplan.agent.api.make_env import make_env
    from worldplan.agent.api.train import train
    from worldplan.agent.api.tune import tune
    from worldplan.agent.training.trained import TrainedAgent
    from worldplan.envs import EnvConfig
    from worldplan.planners.alone import plan

__version__ = importlib.metadata.version("worldplan")
__all__ = [
    "Agent",
    "EnvConfig",
    "TrainedAgent",
    "__version__",
    "load",
    "make_env",
    "plan",
    "train",
    "tune",
]

# Imported when first used: `import worldplan.planners` needs no simulator and no learner.
_HOMES = {
    "Agent": "agent",
    "EnvConfig": "envs",
    "TrainedAgent": "agent.training.trained",
    "load": "agent",
    "make_env": "agent.api.make_env",
    "plan": "planners.alone",
    "train": "agent.api.train",
    "tune": "agent.api.tune",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'worldplan' has no attribute {name!r}")
    return getattr(importlib.import_module(f"worldplan.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
