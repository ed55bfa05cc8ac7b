"""A world model of your own: physics that are known, in place of what is learned."""

from itertools import islice

import numpy as np
import torch
from small import QUICK
from torch import Tensor

from worldplan.agent.acting.actors import PlanningActor
from worldplan.agent.acting.controller import Controller
from worldplan.agent.acting.objective import DecodedCost
from worldplan.agent.acting.rollout import Step, rollout
from worldplan.agent.learning.compiling import Execution
from worldplan.agent.models.latent import LatentDistribution, NoLatent
from worldplan.agent.models.world_model import Model
from worldplan.envs import EnvConfig, make_vector
from worldplan.planners import Box, ICEMConfig, make_planner


class Pendulum(Model):
    """Gymnasium's pendulum. x = h = s = (cosine, sine, speed); there is no z."""

    context, embedding_dim, feature_dim, latent_dim, noise_dim = 1, 3, 3, 0, 0

    def encode(self, x: Tensor) -> Tensor:
        return x

    def initial_state(self, h: Tensor) -> Tensor:
        return h

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        angle, torque = torch.atan2(s[..., 1], s[..., 0]), 2 * a[..., 0]
        speed = (s[..., 2] + (15 * angle.sin() + 3 * torque) * 0.05).clamp(-8, 8)
        angle = angle + speed * 0.05
        return torch.stack([angle.cos(), angle.sin(), speed], -1)

    def expect(self, s: Tensor) -> Tensor:
        return s

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        return NoLatent(s.new_zeros(*s.shape[:-1], 0))

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        return self.prior(h, s, a)

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        return h_next

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h


env = make_vector(EnvConfig(id="Pendulum-v1"), 1)
planner = make_planner(ICEMConfig(horizon=4 if QUICK else 25, samples=200, iterations=3), Box(1))
upright = DecodedCost(lambda x: (1 - x[..., 0]) * 10 + 0.1 * x[..., 2] ** 2, lambda f: f)
controller = Controller(Pendulum(env.spec), None, planner, upright, 0, Execution())
events = rollout(PlanningActor(controller), env, [0], torch.Generator().manual_seed(0))
rewards = [e.reward[0] for e in islice(events, 10 if QUICK else None) if isinstance(e, Step)]
print(f"{len(rewards)} steps, return {np.sum(rewards):.0f}")
