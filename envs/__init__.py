"""Environments: any Gymnasium id, with flat float32 observations and actions."""

import worldplan.envs.rendering.backend  # noqa: F401 (before MuJoCo is imported)

# isort: split

from worldplan.envs.actions import ActionSpec
from worldplan.envs.given import given_env, is_given
from worldplan.envs.make import make_env
from worldplan.envs.rendering.choose import choose_backend
from worldplan.envs.simulate import Simulated, Simulator
from worldplan.envs.spec import EnvConfig, EnvironmentSpec, ObservationSpec
from worldplan.envs.vector.make import adapt_vector, make_vector
from worldplan.envs.vector.vector_env import SyncVectorEnv, VectorEnv, goals_of
from worldplan.envs.wrappers import EnvironmentFault

__all__ = [
    "ActionSpec",
    "EnvConfig",
    "EnvironmentFault",
    "EnvironmentSpec",
    "ObservationSpec",
    "Simulated",
    "Simulator",
    "SyncVectorEnv",
    "VectorEnv",
    "adapt_vector",
    "choose_backend",
    "given_env",
    "goals_of",
    "is_given",
    "make_env",
    "make_vector",
]
