"""The families of world models. To add one, add its config and class, and a line in `MODELS`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from worldplan.agent.models.autoregressive import Autoregressive, AutoregressiveConfig
from worldplan.agent.models.ensemble import Ensemble, EnsembleConfig
from worldplan.agent.models.jepa import JEPA, JEPAConfig
from worldplan.agent.models.simulator import SimulatorConfig, SimulatorModel
from worldplan.agent.models.world_model import Model, ModelConfig
from worldplan.envs import EnvironmentSpec
from worldplan.planners.kinds import by_kind

MODELS: dict[str, type[Model]] = {
    "jepa": JEPA,
    "ensemble": Ensemble,
    "autoregressive": Autoregressive,
    "simulator": SimulatorModel,
}

ModelConfigUnion = Annotated[
    JEPAConfig | EnsembleConfig | AutoregressiveConfig | SimulatorConfig,
    Field(discriminator="kind"),
    by_kind("world model", MODELS, default="jepa"),
]


def make_model(config: ModelConfig, spec: EnvironmentSpec) -> Model:
    """Makes the world model of a config, for environments with this spec.

    Raises:
        ValueError: the simulator family cannot copy the environment, see `SimulatorModel`; or
            pictures, for a family that predicts observations themselves.
    """
    make: Any = MODELS[config.kind]
    if spec.observation.kind not in make.observations:
        able = [
            name for name, family in MODELS.items() if spec.observation.kind in family.observations
        ]
        raise ValueError(
            f"world models of the kind {config.kind!r} predict observations number by number, got "
            f"{spec.observation.kind}; expected model={' or '.join(able)}"
        )
    model: Model = make(config, spec)
    return model
