"""Shapes and types of observations and actions, as replay, model, heads and planner read them.

Shapes: B batch, D observation, A action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field


class EnvConfig(BaseModel):
    """Which environment, and how it is observed and acted upon."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Any Gymnasium id. `module:EnvId` imports `module` first; `dm_control/...` needs shimmy."""
    action_repeat: int = Field(default=1, ge=1)
    """Simulator frames per decision."""
    kwargs: dict[str, Any] = {}
    """Passed to `gymnasium.make`."""
    observe: Literal["observation", "state"] = "observation"
    """What the agent observes: the environment's observation, or the full state of MuJoCo."""


@dataclass(frozen=True)
class ObservationSpec:
    """Observations: arrays of one shape and dtype, so far always vectors (D,) of float32."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def kind(self) -> Literal["vector"]:
        """Selects the encoder."""
        assert len(self.shape) == 1, "make_env makes vectors only"
        return "vector"

    @property
    def size(self) -> int:
        """D, numbers in one observation."""
        return int(np.prod(self.shape))

    def check(self, given: Any) -> NDArray[Any]:
        """Converts one observation (*shape) or a batch (B, *shape) to this dtype.

        Raises:
            ValueError: wrong shape, or a number that is not finite.
        """
        x: NDArray[Any] = np.asarray(given, dtype=self.dtype)
        n = len(self.shape)
        if x.ndim not in (n, n + 1) or x.shape[x.ndim - n :] != self.shape:
            batch = f"({', '.join(map(str, ('batch', *self.shape)))})"
            raise ValueError(
                f"expected an observation of shape {self.shape} or {batch}, got {x.shape}"
            )
        if not np.isfinite(x).all():
            raise ValueError("expected a finite observation, got NaN or infinity in it")
        return x


@dataclass(frozen=True)
class ActionSpec:
    """Actions: `box` is a vector of `size` numbers in [-1, 1]."""

    size: int
    kind: Literal["box"] = "box"


@dataclass(frozen=True)
class EnvironmentSpec:
    """Observations and actions of an environment.

    `config` is the one that made the environment, if it is known. A model that simulates the
    environment needs it.
    """

    observation: ObservationSpec
    action: ActionSpec
    config: EnvConfig | None = None

    @classmethod
    def vectors(
        cls, observation: int, action: int, config: EnvConfig | None = None
    ) -> EnvironmentSpec:
        """The spec of observations (D,) and actions (A,)."""
        return cls(ObservationSpec((observation,)), ActionSpec(action), config)

    @classmethod
    def of(cls, env: gym.Env[Any, Any], config: EnvConfig | None = None) -> EnvironmentSpec:
        """The spec of an environment that `make_env` made."""
        observation, action = env.observation_space, env.action_space
        assert observation.shape is not None
        assert action.shape is not None
        (size,) = action.shape
        return cls(
            ObservationSpec(observation.shape, str(observation.dtype)), ActionSpec(size), config
        )

    def to_json(self) -> dict[str, Any]:
        """The spec without the config, which a run saves separately."""
        observation = {"shape": list(self.observation.shape), "dtype": self.observation.dtype}
        return {
            "observation": observation,
            "action": {"kind": self.action.kind, "size": self.action.size},
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], config: EnvConfig | None) -> EnvironmentSpec:
        """Inverse of `to_json`."""
        shape = tuple(saved["observation"]["shape"])
        observation = ObservationSpec(shape, saved["observation"]["dtype"])
        return cls(observation, ActionSpec(**saved["action"]), config)
