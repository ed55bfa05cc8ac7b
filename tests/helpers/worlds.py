"""A model with known predictions, and data for it."""

import torch
from torch import Tensor

from tests.helpers.small_models import rng
from worldplan.agent.data.batch import Batch
from worldplan.agent.models.latent import Gaussian, LatentDistribution

D = 3


class World:
    """A model that predicts x' = x + push * a + spread * z, with z standard normal.

    It records the observations (h, h_next) that it has filtered.
    """

    embedding_dim = latent_dim = noise_dim = D
    feature_dim = D

    def __init__(self, push: float = 1.0, spread: float = 0.0, context: int = 1) -> None:
        self.push, self.spread, self.context = push, spread, context
        self.filtered: list[Tensor] = []

    def encode(self, x: Tensor) -> Tensor:
        return x

    def initial_state(self, h: Tensor) -> Tensor:
        return h

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        return h + self.push * a + self.spread * z

    def expect(self, s: Tensor) -> Tensor:
        return s

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        return Gaussian(torch.zeros_like(h), torch.ones_like(h))

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        raise AssertionError("predictions must not use the posterior")

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        self.filtered.append(torch.stack([h, h_next]))
        return s

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h


def batch(steps: int = 1, count: int = 4000) -> Batch:
    """Data of x' = x + a: the first x has variance 1, a has variance 1/3."""
    a = 2 * torch.rand(count, steps, D, generator=rng()) - 1
    x = torch.randn(count, 1, D, generator=rng(1))
    x = torch.cat([x, x + a.cumsum(1)], 1)
    zero = torch.zeros(count, steps)
    return Batch(x, a, zero, zero, torch.ones(count, steps, dtype=torch.bool))
