"""Autoregressive models small enough for a test."""

from typing import Any

import torch
from torch import Tensor

from tests.helpers.small_models import rng, stir
from worldplan.agent.models.autoregressive import Autoregressive, AutoregressiveConfig
from worldplan.agent.models.world_model import ModelLoss
from worldplan.envs import EnvironmentSpec

SMALL = {"bins": 4, "width": 16, "layers": 2, "heads": 2}


def make(observation: int = 3, **config: Any) -> Autoregressive:
    """A model that has observed normal data, with weights that are not near zero."""
    torch.manual_seed(0)
    settings = AutoregressiveConfig.model_validate({**SMALL, **config})
    model = Autoregressive(settings, EnvironmentSpec.vectors(observation, 2))
    model.normaliser.update(torch.randn(500, observation, generator=rng(9)))
    return stir(model)


def some(m: Autoregressive, rows: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """h, s, a, h' (rows, ...) with a full window."""
    generator = rng(seed)
    h = m.encode(torch.randn(m.context + 1, rows, m.embedding_dim, generator=generator))
    a = 2 * torch.rand(m.context, rows, 2, generator=generator) - 1
    s, here = m.initial_state(h[0]), torch.ones(rows, dtype=torch.bool)
    for t in range(m.context - 1):
        s = m.filter(h[t], s, a[t], h[t + 1], here)
    return h[-2], s, a[-1], h[-1]


def learn(m: Autoregressive, x: Tensor, a: Tensor, valid: Tensor | None = None) -> ModelLoss:
    """The loss on x (C+T+1, N, D) and a (C+T, N, A)."""
    valid = torch.ones(a.shape[:2], dtype=torch.bool) if valid is None else valid
    noise = torch.randn(*a.shape[:2], m.noise_dim, generator=rng(3))
    weights = valid[m.context - 1 :].float()
    return m.loss(x, a, valid, weights, noise, torch.zeros(0))
