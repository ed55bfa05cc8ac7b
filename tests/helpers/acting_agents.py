"""Small agents whose actions depend on what they remember."""

from typing import Any

import numpy as np
import torch

from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.models.world_model import LearnedModel
from worldplan.envs import EnvironmentSpec

MODEL = {"kind": "jepa", "embedding": 16, "width": 16, "simnorm_group": 4, "context": 2}


def agent(**planner: Any) -> Agent:
    torch.manual_seed(0)
    settings = {"samples": 16, "elites": 4, "iterations": 2, "choose": "best", **planner}
    a = Agent(
        AgentConfig.model_validate(
            {
                "model": MODEL,
                "planner": {"kind": "icem", **settings},
                "proposals": 4,
                "heads": {"width": 16, "outcome_width": 16, "bins": 21},
            }
        ),
        EnvironmentSpec.vectors(3, 2),
    )
    assert isinstance(a.model, LearnedModel)
    a.model.observe(torch.randn(50, 3))
    with torch.no_grad():
        for p in (*a.model.parameters(), *a.heads.parameters()):
            p.add_(0.2 * torch.randn(p.shape))
    return a


def observations(rows: int, steps: int = 3) -> Any:
    return np.random.default_rng(0).normal(size=(steps, rows, 3)).astype(np.float32)
