"""Losses of the models, as pure functions of tensors.

Shapes: T steps, S sequences, H embedding, E value ensemble, ... any leading shape.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from worldplan.agent.models.latent import LatentDistribution


def step_weights(valid: Tensor, decay: float) -> Tensor:
    """Weight of each step of a window: decay^t where valid, 0 elsewhere.

    Divided so that an all-valid window sums to 1: far predictions count less (TD-MPC2's rho).

    Args:
        valid: bool (T, S).
    """
    steps = valid.shape[0]
    weights = decay ** torch.arange(steps, device=valid.device, dtype=torch.float32)
    return valid * (weights / weights.sum()).unsqueeze(-1)


def weighted(loss: Tensor, weights: Tensor) -> Tensor:
    """Sum over steps and mean over sequences of loss (T, S) under weights (T, S)."""
    return (loss * weights).sum(0).mean()


def consistency(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared distance per dimension of embeddings (..., H) -> (...)."""
    return ((predicted - target) ** 2).mean(-1)


def latent_kl(
    posterior: LatentDistribution, prior: LatentDistribution, free: float, prior_share: float
) -> tuple[Tensor, Tensor]:
    """KL(q || p), pulled towards the posterior by `prior_share` (DreamerV2's balancing:
    Hafner et al. 2021, https://arxiv.org/abs/2010.02193).

    Below `free` nats (...) neither side is pulled, so z may carry that much at no cost
    (Kingma et al. 2016, https://arxiv.org/abs/1606.04934).

    Returns:
        loss (...) and the KL itself (...), nats.
    """
    move_prior = posterior.detach().kl(prior)
    move_posterior = posterior.kl(prior.detach())
    loss = prior_share * move_prior.clamp(min=free)
    return loss + (1 - prior_share) * move_posterior.clamp(min=free), move_prior.detach()


def variance(h: Tensor, target: float = 1.0) -> Tensor:
    """VICReg's hinge on each dimension's standard deviation, h (S, H).

    Bardes et al. 2022, https://arxiv.org/abs/2105.04906.
    """
    return F.relu(target - (h.var(0) + 1e-4).sqrt()).mean()


def covariance(h: Tensor) -> Tensor:
    """VICReg's squared off-diagonal covariances of h (S, H), per dimension."""
    h = h - h.mean(0)
    with torch.autocast(h.device.type, enabled=False):
        c = h.T @ h / (h.shape[0] - 1)
    return ((c**2).sum() - (c.diagonal() ** 2).sum()) / h.shape[1]


def sigreg(h: Tensor, directions: Tensor, knots: int = 17) -> Tensor:
    """Sketched isotropic Gaussian regularisation (LeJEPA).

    Balestriero & LeCun 2025, https://arxiv.org/abs/2511.08544.

    The Epps-Pulley distance between the empirical characteristic function of h along each
    direction and that of a standard normal, integrated by the trapezoid rule over |t| <= 5 under
    a Gaussian window of area 1 (the paper's: sqrt(2 pi)). Not multiplied by S as the paper's
    statistic is: the weight then does not depend on the batch size.

    Args:
        h: (S, H).
        directions: (H, K), normalised here.
    """
    t = torch.linspace(-5, 5, knots, device=h.device)
    normal = torch.exp(-0.5 * t**2)
    with torch.autocast(h.device.type, enabled=False):
        angle = (h @ F.normalize(directions, dim=0)).unsqueeze(-1) * t
    error = (angle.cos().mean(0) - normal) ** 2 + angle.sin().mean(0) ** 2
    return torch.trapezoid(error * normal, t, dim=-1).mean() / math.sqrt(2 * math.pi)
