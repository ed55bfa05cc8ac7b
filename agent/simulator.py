"""MuJoCo itself as the world model: the upper bound of every planner, and the check that one works.

Enc is the identity, s = h = x is the simulator's state, there is no z, and Pred is the simulator.
Nothing is learned: a plan is worth the true rewards up to its horizon, and nothing after.

Shapes: ... any leading shape, S state, A action, R rows, T horizon.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from worldplan.agent.latent import LatentDistribution, NoLatent
from worldplan.agent.world_model import Model
from worldplan.envs import EnvConfig, Simulator


class SimulatorConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["simulator"] = "simulator"
    threads: int = Field(default=0, ge=0, description="that simulate; 0: one for each processor")


# Without a value of what comes after, the horizon is all that a plan sees: half a second of
# dm_control's cartpole at two frames a decision.
PLANNER_DEFAULTS = {"horizon": 25}


class SimulatorModel(Model):
    """The contract over `Simulator`; see `WorldModel`. Not differentiable."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self.simulator = simulator
        self.context = 1
        self.embedding_dim = self.feature_dim = simulator.state_dim
        self.latent_dim = self.noise_dim = 0

    def encode(self, x: Tensor) -> Tensor:
        return x

    def initial_state(self, h: Tensor) -> Tensor:
        return h

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        start, actions = s.reshape(-1, s.shape[-1]), a.reshape(-1, 1, a.shape[-1])
        rows = self.simulator.rollout(_array(start), _array(actions))
        return torch.from_numpy(rows.states).to(s.dtype).view(s.shape)

    def expect(self, s: Tensor) -> Tensor:
        return s

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        return NoLatent(s[..., :0])

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        return NoLatent(s[..., :0])

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        return h_next

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h

    def true_return(self, s: Tensor, actions: Tensor, discount: float) -> Tensor:
        """Discounted rewards (R,) from states (R, S) under actions (T, R, A).

        All steps go to the simulator at once, so that nothing is rounded between them. NaN where
        the simulation broke.
        """
        rewards = self.simulator.rollout(_array(s), _array(actions.transpose(0, 1))).rewards
        weights = discount ** torch.arange(len(actions), dtype=torch.float64)
        return (torch.from_numpy(rewards) @ weights).to(s.dtype)


def _array(u: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = u.detach().numpy()
    return array


def is_simulator(model: Any) -> bool:
    """Whether a model's config, read or still as the user wrote it, is of this family."""
    kind = model.get("kind") if isinstance(model, dict) else getattr(model, "kind", model)
    return bool(kind == "simulator")


def simulator_of(model: BaseModel, env: EnvConfig) -> Simulator | None:
    """The environment's simulator, if the model's config asks for one.

    Raises:
        ValueError: the task's reward cannot be computed from the state.
    """
    return Simulator(env, model.threads) if isinstance(model, SimulatorConfig) else None
