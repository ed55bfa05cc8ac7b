"""MuJoCo as the world model: an upper bound for planning, and a test of planners.

Enc is the identity, s = h = x is the state of the simulator, and Pred is the simulator. The random
events of a task are a function of z, which is standard normal; most tasks have none, and then z
has size 0. Nothing is learned: the score of a plan is the true return up to its horizon.

Shapes: ... any leading shape, S state, A action, Z = E latent and its noise, R rows, T horizon.
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
    threads: int = Field(
        default=0, ge=0, le=256, description="threads that simulate; 0: one for each processor"
    )
    learns: ClassVar[bool] = False

    def defaults(self) -> dict[str, Any]:
        """Long plans, no policy proposals, and MuJoCo's state as observation.

        There is no value after the horizon, which is therefore long: one second of dm_control's
        cartpole at two frames per decision. There is no policy, so each search starts from kept
        elites. The best elite is executed, because the mean of long plans is seldom good.
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
                f"planner.kind={planner.kind} needs the gradient of the model, and "
                f"model.kind=simulator is not differentiable; expected one of {others}"
            )
        if run.agent.proposals:
            raise ValueError(
                "model.kind=simulator learns no policy that could propose plans; expected "
                f"agent.proposals=0, got {run.agent.proposals}"
            )


class SimulatorModel(Model):
    """A `WorldModel` that wraps `Simulator`. Not differentiable."""

    def __init__(self, config: SimulatorConfig, spec: EnvironmentSpec) -> None:
        """Copies the environment of the spec.

        Raises:
            ValueError: the spec has no config, the config does not observe the state, it
                makes another environment now, or the reward cannot be computed from the state.
        """
        super().__init__(spec)
        if spec.config is None or spec.config.observe != "state":
            raise ValueError(
                "model.kind=simulator needs to know the environment that it copies; expected the "
                "spec of one made by an EnvConfig with observe=state"
            )
        self.simulator = simulator = Simulator(spec.config, config.threads)
        spec.check_same(simulator.spec)  # a package may have been changed since
        self.context = 1
        self.embedding_dim = self.feature_dim = simulator.state_dim
        self.latent_dim = self.noise_dim = simulator.uniform_dim

    def encode(self, x: Tensor) -> Tensor:
        return x

    def initial_state(self, h: Tensor) -> Tensor:
        return h

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        start, actions = s.reshape(-1, s.shape[-1]), a.reshape(-1, 1, a.shape[-1])
        uniform = torch.special.ndtr(z).reshape(len(start), 1, self.latent_dim)
        rows = self.simulator.rollout(_array(start), _array(actions), _array(uniform))
        return torch.from_numpy(rows.states).to(s).view(s.shape)

    def expect(self, s: Tensor) -> Tensor:
        return s

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        mean = s.new_zeros(*s.shape[:-1], self.latent_dim)
        return Gaussian(mean, mean + 1) if self.latent_dim else NoLatent(mean)

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        """The prior. What was drawn is not inferred, because h_next is the full state."""
        return self.prior(h, s, a)

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        return h_next

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h

    def imagine(self, h: Tensor, s: Tensor, actions: Tensor, noise: Tensor) -> ImaginedTrajectory:
        """A trajectory with the true rewards (T, R); NaN where the simulation became unstable.

        All steps are simulated in one call, so that states are not rounded between them.
        """
        acts, uniform = (u.transpose(0, 1) for u in (actions, torch.special.ndtr(noise)))
        rows = self.simulator.rollout(_array(s), _array(acts), _array(uniform))
        after = torch.from_numpy(rows.states).to(s).transpose(0, 1)
        states = torch.cat([s[None], after])
        # float64, as in the simulator.
        reward = torch.from_numpy(rows.rewards).to(s.device).T
        return ImaginedTrajectory(states, states, noise, actions, reward)


def _array(u: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = u.detach().cpu().numpy()
    return array
