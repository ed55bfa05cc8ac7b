"""The world-model families, and how to add one: its config, its class, a line in `MODELS`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from worldplan.agent.autoregressive import Autoregressive, AutoregressiveConfig
from worldplan.agent.ensemble import Ensemble, EnsembleConfig
from worldplan.agent.jepa import JEPA, JEPAConfig
from worldplan.agent.world_model import LearnedModel
from worldplan.planners.kinds import by_kind

MODELS: dict[str, type[LearnedModel]] = {
    "jepa": JEPA,
    "ensemble": Ensemble,
    "autoregressive": Autoregressive,
}

ModelConfigUnion = Annotated[
    JEPAConfig | EnsembleConfig | AutoregressiveConfig,
    Field(discriminator="kind"),
    by_kind("world model", MODELS, default="jepa"),
]


def make_model(config: Any, observation_dim: int, action_dim: int) -> LearnedModel:
    """Makes the world model that the config is for."""
    make: Any = MODELS[config.kind]
    model: LearnedModel = make(config, observation_dim, action_dim)
    return model
