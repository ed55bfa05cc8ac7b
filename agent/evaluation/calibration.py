"""Calibration: do observed futures and returns agree with the predictions?

Shapes: M draws of z, K steps ahead, S sequences, H embedding, E latent noise, T decisions,
B episodes, ... any leading shape.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldplan.agent.data.batch import Batch
from worldplan.agent.evaluation.diagnostics import encode_windows
from worldplan.agent.evaluation.evaluate import Evaluation
from worldplan.agent.models.world_model import WorldModel, imagine_step

Floats = NDArray[np.float64]


def pit(draws: Tensor, observed: Tensor, width: Tensor) -> Tensor:
    """Probability integral transform (...): the predicted probability of a value below `observed`.

    Uniform in [0, 1] if predictions are calibrated (Dawid 1984; Gneiting et al. 2007).

    Args:
        draws: (M, ...) predictions. Each is the centre of a normal distribution.
        observed: (...).
        width: (...) standard deviation of these normals.
    """
    below: Tensor = torch.special.ndtr((observed - draws) / width.clamp(min=1e-12))
    return below.mean(0)


def coverage(transformed: Tensor, level: float) -> float:
    """Share of `pit`'s values (...) in the central band that should hold `level` of them.

    A lower share than `level`: the model is overconfident; a higher one: it is underconfident.
    NaN values do not count.
    """
    known = transformed[~transformed.isnan()]
    return float(((known - 0.5).abs() <= level / 2).double().mean())


@torch.no_grad()
def embedding_pit(
    model: WorldModel, batch: Batch, generator: torch.Generator, draws: int = 32
) -> Tensor:
    """`pit` (K, S, H) of the embeddings 1 to K steps after the context; NaN after an episode's end.

    Futures are imagined under the actions that were taken, with z from the prior. The error that
    Pred makes even with z from the posterior is taken as normal noise, as the squared error that
    trains it assumes.
    """
    first = model.context - 1
    steps = batch.action.shape[1] - first
    h, s = encode_windows(model, batch)
    posterior_h, posterior_s = h[:, first], s
    prior_h, prior_s = (u.expand(draws, *u.shape) for u in (posterior_h, posterior_s))
    shape = (steps, draws + 1, len(posterior_h), model.noise_dim)
    noise = torch.randn(shape, generator=generator, device=generator.device)
    found = []
    for k in range(steps):
        a, observed = batch.action[:, first + k], h[:, first + k + 1]
        z = model.posterior(posterior_h, posterior_s, a, observed).sample(noise[k, 0])
        posterior_s = model.predict(posterior_h, posterior_s, z, a)
        posterior_h = model.expect(posterior_s)
        a_draws = a.expand(draws, *a.shape)
        prior_h, prior_s, _ = imagine_step(model, prior_h, prior_s, a_draws, noise[k, 1:])
        valid = batch.valid[:, first : first + k + 1].all(1)
        width = (posterior_h - observed)[valid].square().mean(0).sqrt()
        found.append(pit(prior_h, observed, width).masked_fill(~valid[:, None], torch.nan))
    return torch.stack(found)


def band_coverage(model: WorldModel, batch: Batch, generator: torch.Generator) -> dict[str, float]:
    """Coverage of the 50% and 90% bands of imagined embeddings, over all windows and steps."""
    transformed = embedding_pit(model, batch, generator)
    return {f"coverage_{level}": coverage(transformed, level / 100) for level in (50, 90)}


def optimism(
    predicted: Floats,
    rewards: Floats,
    lengths: NDArray[np.int64],
    terminated: NDArray[np.bool_],
    discount: float,
    steps: int,
) -> float:
    """Bias of predicted returns: by how much they exceed n-step returns, n = `steps`.

    The mean over decisions t of p(t) - [r(t) + ... + g^(n-1) r(t+n-1) + g^n p(t+n)]. Positive: the
    planner exploits errors of the model or of the value. After a terminated episode p = 0. After a
    truncated one p is unknown, and such t do not count.

    Args:
        predicted: (T, B) p(t), the return that each decision's plan predicts.
        rewards: (T, B); neither is read from an episode's length on.
        lengths, terminated: (B,).

    Returns:
        NaN if no decision counts.
    """
    T, B = predicted.shape
    over = np.arange(T + steps)[:, None] >= lengths
    beyond = np.zeros((steps, B))
    r = np.where(over, 0.0, np.concatenate([rewards, beyond]))
    p = np.where(over, np.where(terminated, 0.0, np.nan), np.concatenate([predicted, beyond]))
    target = discount**steps * p[steps:]
    for k in range(steps):
        target = target + discount**k * r[k : T + k]
    gap = (p[:T] - target)[~over[:T]]
    return float(np.nanmean(gap)) if np.isfinite(gap).any() else float("nan")


def optimism_by_horizon(result: Evaluation, discount: float) -> dict[str, float]:
    """`optimism` after 1, 2, 4, 8 ... steps, up to the longest episode; {} without plans."""
    longest = len(result.plan_returns)
    horizons = [2**i for i in range(longest.bit_length()) if 2**i <= longest]
    found = {
        f"after_{n}": optimism(
            result.plan_returns, result.rewards, result.lengths, result.terminated, discount, n
        )
        for n in horizons
    }
    return {name: gap for name, gap in found.items() if np.isfinite(gap)}
