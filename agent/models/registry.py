"""The world-model families, and how to add one: its config, its class, a line in `MODELS`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from worldplan.agent.models.autoregressive import Autoregressive, AutoregressiveConfig
from worldplan.agent.models.ensemble import Ensemble, EnsembleConfig
from worldplan.agent.models.jepa import JEPA, JEPAConfig
from worldplan.agent.models.simulator import SimulatorConfig, SimulatorModel
from worldplan.agent.models.world_model import Model
from worldplan.envs import Simulator
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


def make_model(
    config: Any, observation_dim: int, action_dim: int, simulator: Simulator | None = None
) -> Model:
    """Makes the world model that the config is for.

    Raises:
        ValueError: the simulator family, without a simulator or with another environment's.
    """
    if isinstance(config, SimulatorConfig):
        if simulator is None:
            raise ValueError(
                "model.kind=simulator needs an envs.Simulator to be given to the agent"
            )
        sizes = simulator.state_dim, simulator.action_dim
        if sizes != (observation_dim, action_dim):
            raise ValueError(
                f"the simulator's states and actions are of size {sizes}, the agent's of "
                f"{(observation_dim, action_dim)}; expected the same env, with observe=state"
            )
        return SimulatorModel(simulator)
    make: Any = MODELS[config.kind]
    model: Model = make(config, observation_dim, action_dim)
    return model
