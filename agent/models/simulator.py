"""MuJoCo itself as the world model: the upper bound of every planner, and the check that one works.

Enc is the identity, s = h = x is the simulator's state, and Pred is the simulator. z, standard
normal, decides what the task decides by lot; most have no luck, and then there is no z. Nothing is
learned: a plan is worth the true rewards up to its horizon, and nothing after.

Shapes: ... any leading shape, S state, A action, Z = E latent, R rows, T horizon.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from worldplan.agent.models.latent import Gaussian, LatentDistribution, NoLatent
from worldplan.agent.models.world_model import Model
from worldplan.envs import EnvConfig, Simulator
from worldplan.planners import PLANNERS, PlannerConfig

# Settings of the planner beneath the user's: see `with_defaults`.
SEARCH = {"horizon": 50, "elites": 4, "initial_std": 0.3, "keep": 0.5, "choose": "best"}


class SimulatorConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["simulator"] = "simulator"
    threads: int = Field(default=0, ge=0, description="that simulate; 0: one for each processor")


class SimulatorModel(Model):
    """The contract over `Simulator`; see `WorldModel`. Not differentiable."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self.simulator = simulator
        self.context = 1
        self.embedding_dim = self.feature_dim = simulator.state_dim
        self.latent_dim = self.noise_dim = simulator.chances

    def encode(self, x: Tensor) -> Tensor:
        return x

    def initial_state(self, h: Tensor) -> Tensor:
        return h

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        start, actions = s.reshape(-1, s.shape[-1]), a.reshape(-1, 1, a.shape[-1])
        luck = torch.special.ndtr(z).reshape(len(start), 1, self.latent_dim)
        rows = self.simulator.rollout(_array(start), _array(actions), _array(luck))
        return torch.from_numpy(rows.states).to(s.dtype).view(s.shape)

    def expect(self, s: Tensor) -> Tensor:
        return s

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        luck = s.new_zeros(*s.shape[:-1], self.latent_dim)
        return Gaussian(luck, luck + 1) if self.latent_dim else NoLatent(luck)

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        """The prior: nothing needs to know what was drawn, since h_next is all of the state."""
        return self.prior(h, s, a)

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        return h_next

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h

    def true_return(self, s: Tensor, actions: Tensor, noise: Tensor, discount: float) -> Tensor:
        """Discounted rewards (R,) from states (R, S) under actions (T, R, A), noise (T, R, E).

        All steps go to the simulator at once, so that nothing is rounded between them. NaN where
        the simulation broke.
        """
        acts, luck = (u.transpose(0, 1) for u in (actions, torch.special.ndtr(noise)))
        rewards = self.simulator.rollout(_array(s), _array(acts), _array(luck)).rewards
        weights = discount ** torch.arange(len(actions), dtype=torch.float64)
        return (torch.from_numpy(rewards) @ weights).to(s.dtype)


def _array(u: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = u.detach().numpy()
    return array


def is_simulator(model: Any) -> bool:
    """Whether a model's config, read or still as the user wrote it, is of this family."""
    kind = model.get("kind") if isinstance(model, dict) else getattr(model, "kind", model)
    return bool(kind == "simulator")


def with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """An agent's settings, still as the user wrote them, with what a simulator needs beneath.

    Without a value of what comes after, the horizon is all that a plan sees: a second of
    dm_control's cartpole at two frames a decision. There is no policy to propose anything, so that
    what a search has found is refined from one decision to the next; the mean of many plans so long
    is none of them.
    """
    planner = values.get("planner", {})
    planner = {"kind": planner} if isinstance(planner, str) else planner
    if isinstance(planner, dict):
        planner = {**SEARCH, **planner}
    return {"proposals": 0, **values, "planner": planner}


def check_search(planner: PlannerConfig, proposals: int) -> None:
    """Raises ValueError for a planner, or a number of proposals, that a simulator cannot serve."""
    if PLANNERS[planner.kind].differentiates:
        others = ", ".join(k for k, p in PLANNERS.items() if not p.differentiates)
        raise ValueError(
            f"planner.kind={planner.kind} follows the slope of what it predicts, and "
            f"model.kind=simulator is not differentiable; expected one of {others}"
        )
    if proposals:
        raise ValueError(
            "model.kind=simulator learns no policy that could propose plans; expected "
            f"agent.proposals=0, got {proposals}"
        )


def simulator_of(model: BaseModel, env: EnvConfig) -> Simulator | None:
    """The environment's simulator, if the model's config asks for one.

    Raises:
        ValueError: the task's reward cannot be computed from the state.
    """
    return Simulator(env, model.threads) if isinstance(model, SimulatorConfig) else None
