"""Losses of the models, as pure functions of tensors.

Shapes: ... any leading shape, T steps, S sequences (batch), H embedding, K directions.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from worldplan.agent.models.latent import LatentDistribution


def step_weights(valid: Tensor, decay: float) -> Tensor:
    """Weights (T, S) of the steps of windows: proportional to decay^t where valid, else 0.

    The weights of a fully valid window sum to 1. `decay` is rho in TD-MPC2 (Hansen et al. 2024,
    https://arxiv.org/abs/2310.16828).

    Args:
        valid: bool (T, S).
    """
    steps = valid.shape[0]
    weights = decay ** torch.arange(steps, device=valid.device, dtype=torch.float32)
    return valid * (weights / weights.sum()).unsqueeze(-1)


def weighted(loss: Tensor, weights: Tensor) -> Tensor:
    """Loss (T, S), weighted by (T, S), summed over steps and averaged over sequences: ()."""
    return (loss * weights).sum(0).mean()


def consistency(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of embeddings (..., H) over their dimensions -> (...)."""
    return ((predicted - target) ** 2).mean(-1)


def latent_kl(
    posterior: LatentDistribution, prior: LatentDistribution, free_bits: float, prior_share: float
) -> tuple[Tensor, Tensor]:
    """KL(posterior || prior) with KL balancing and free bits.

    KL balancing (DreamerV2: Hafner et al. 2021, https://arxiv.org/abs/2010.02193): the fraction
    `prior_share` of the gradient trains the prior, the rest the posterior. Free bits (Kingma et
    al. 2016, https://arxiv.org/abs/1606.04934): below `free_bits` nats there is no gradient.

    Returns:
        The loss (...), and the KL (...) without gradient, both in nats.
    """
    move_prior = posterior.detach().kl(prior)
    move_posterior = posterior.kl(prior.detach())
    loss = prior_share * move_prior.clamp(min=free_bits)
    return loss + (1 - prior_share) * move_posterior.clamp(min=free_bits), move_prior.detach()


def variance(h: Tensor, target: float = 1.0) -> Tensor:
    """VICReg's hinge loss () on the standard deviation of each dimension of h (S, H).

    Bardes et al. 2022, https://arxiv.org/abs/2105.04906.
    """
    return F.relu(target - (h.var(0) + 1e-4).sqrt()).mean()


def covariance(h: Tensor) -> Tensor:
    """VICReg's covariance loss () of h (S, H): squared off-diagonal covariances, per dimension."""
    h = h - h.mean(0)
    with torch.autocast(h.device.type, enabled=False):
        c = h.T @ h / (h.shape[0] - 1)
    return ((c**2).sum() - (c.diagonal() ** 2).sum()) / h.shape[1]


def infonce(predicted: Tensor, h: Tensor, valid: Tensor, temperature: float) -> Tensor:
    """InfoNCE (): to tell the embedding that comes from all others of the batch, by its distance.

    van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, with the logits of a Gaussian round
    the prediction in place of their bilinear ones: mean squared differences over -`temperature`.
    With a low temperature near moments are told apart as surely as far ones, and there is no metric
    left to plan by; with a high one near stays near, and the embedding spreads as it can.

    Args:
        predicted: (N, H).
        h: (N, H), what came.
        valid: bool (N,), of which rows it is asked, and among which.
    """
    with torch.autocast(h.device.type, enabled=False):
        away = predicted.square().sum(-1, keepdim=True) - 2 * predicted @ h.T + h.square().sum(-1)
    logits = torch.where(valid, -away / (h.shape[-1] * temperature), -torch.inf)
    right = torch.arange(len(h), device=h.device)
    untold = F.cross_entropy(logits, right, reduction="none").where(valid, 0.0)
    return untold.sum() / valid.sum().clamp(min=1)


def sigreg(h: Tensor, directions: Tensor, knots: int = 17) -> Tensor:
    """Sketched isotropic Gaussian regularisation (SIGReg) of LeJEPA, a loss ().

    Balestriero & LeCun 2025, https://arxiv.org/abs/2511.08544.

    It is the Epps-Pulley distance between the empirical characteristic function of h along each
    direction and that of a standard normal, averaged over directions. The integral over |t| <= 5
    uses the trapezoid rule and a Gaussian window of area 1 (in the paper sqrt(2 pi)). Unlike the
    paper's statistic it is not multiplied by S, so that its weight does not depend on the batch
    size.

    Args:
        h: (S, H).
        directions: (H, K), of any length: they are normalised here.
        knots: Points of the trapezoid rule.
    """
    t = torch.linspace(-5, 5, knots, device=h.device)
    normal = torch.exp(-0.5 * t**2)
    with torch.autocast(h.device.type, enabled=False):
        angle = (h @ F.normalize(directions, dim=0)).unsqueeze(-1) * t
    error = (angle.cos().mean(0) - normal) ** 2 + angle.sin().mean(0) ** 2
    return torch.trapezoid(error * normal, t, dim=-1).mean() / math.sqrt(2 * math.pi)
