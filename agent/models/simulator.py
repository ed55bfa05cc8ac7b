"""MuJoCo itself as the world model: the upper bound of every planner, and the check that one works.

Enc is the identity, s = h = x is the simulator's state, and Pred is the simulator. z, standard
normal, decides what the task draws at random; most tasks draw nothing, and then there is no z.
Nothing is learned: a plan's score is the true return up to its horizon.

Shapes: ... any leading shape, S state, A action, Z = E latent, R rows, T horizon.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from worldplan.agent.models.latent import Gaussian, LatentDistribution, NoLatent
from worldplan.agent.models.world_model import ImaginedTrajectory, Model, ModelConfig
from worldplan.envs import EnvironmentSpec, Simulator
from worldplan.planners import PLANNERS


class SimulatorConfig(ModelConfig):
    """Settings of `SimulatorModel`."""

    kind: Literal["simulator"] = "simulator"
    threads: int = Field(default=0, ge=0, description="that simulate; 0: one for each processor")
    learns: ClassVar[bool] = False

    def defaults(self) -> dict[str, Any]:
        """Without a value of what comes after, the horizon is all that a plan sees: a second of
        dm_control's cartpole at two frames a decision. There is no policy to propose anything, so
        that what a search has found is refined from one decision to the next. The mean of many
        plans so long is none of them.
        """
        planner = {"horizon": 50, "elites": 4, "initial_std": 0.3, "keep": 0.5, "choose": "best"}
        return {"env": {"observe": "state"}, "agent": {"proposals": 0, "planner": planner}}

    def check(self, run: Any) -> None:
        if run.env.observe != "state":
            raise ValueError(
                "model.kind=simulator starts from MuJoCo's state; expected env.observe=state, got "
                f"{run.env.observe}"
            )
        planner = run.agent.planner
        if PLANNERS[planner.kind].differentiates:
            others = ", ".join(k for k, p in PLANNERS.items() if not p.differentiates)
            raise ValueError(
                f"planner.kind={planner.kind} follows the gradient of what it predicts, and "
                f"model.kind=simulator is not differentiable; expected one of {others}"
            )
        if run.agent.proposals:
            raise ValueError(
                "model.kind=simulator learns no policy that could propose plans; expected "
                f"agent.proposals=0, got {run.agent.proposals}"
            )


class SimulatorModel(Model):
    """The contract over `Simulator`; see `WorldModel`. Not differentiable."""

    def __init__(self, config: SimulatorConfig, spec: EnvironmentSpec) -> None:
        """Copies the environment that the spec is of.

        Raises:
            ValueError: the spec does not tell which environment it is of, or is not of its state;
                or the task's reward cannot be computed from the state.
        """
        super().__init__(spec)
        if spec.config is None or spec.config.observe != "state":
            raise ValueError(
                "model.kind=simulator needs to know the environment that it copies; expected the "
                "spec of one made by an EnvConfig with observe=state"
            )
        self.simulator = simulator = Simulator(spec.config, config.threads)
        assert simulator.spec == spec, "the same environment has the same spec"
        self.context = 1
        self.embedding_dim = self.feature_dim = simulator.state_dim
        self.latent_dim = self.noise_dim = simulator.chances

    def encode(self, x: Tensor) -> Tensor:
        return x

    def initial_state(self, h: Tensor) -> Tensor:
        return h

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        start, actions = s.reshape(-1, s.shape[-1]), a.reshape(-1, 1, a.shape[-1])
        chance = torch.special.ndtr(z).reshape(len(start), 1, self.latent_dim)
        rows = self.simulator.rollout(_array(start), _array(actions), _array(chance))
        return torch.from_numpy(rows.states).to(s).view(s.shape)

    def expect(self, s: Tensor) -> Tensor:
        return s

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        mean = s.new_zeros(*s.shape[:-1], self.latent_dim)
        return Gaussian(mean, mean + 1) if self.latent_dim else NoLatent(mean)

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        """The prior: nothing needs to know what was drawn, since h_next is all of the state."""
        return self.prior(h, s, a)

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        return h_next

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h

    def imagine(self, h: Tensor, s: Tensor, actions: Tensor, noise: Tensor) -> ImaginedTrajectory:
        """With the true rewards; NaN where the simulation broke.

        All steps go to the simulator at once, so that nothing is rounded between them.
        """
        acts, chance = (u.transpose(0, 1) for u in (actions, torch.special.ndtr(noise)))
        rows = self.simulator.rollout(_array(s), _array(acts), _array(chance))
        after = torch.from_numpy(rows.states).to(s).transpose(0, 1)
        states = torch.cat([s[None], after])
        reward = (
            torch.from_numpy(rows.rewards).to(s.device).T
        )  # float64, as the simulator adds them up
        return ImaginedTrajectory(states, states, noise, actions, reward)


def _array(u: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = u.detach().cpu().numpy()
    return array
