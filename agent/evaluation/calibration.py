"""Do futures come as they were imagined, and returns as plans promised them?

Shapes: M draws of z, K steps ahead, S sequences, H embedding, E latent noise, T decisions,
B episodes, ... any leading shape.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldplan.agent.data.replay import Batch
from worldplan.agent.evaluation.diagnostics import present
from worldplan.agent.evaluation.evaluate import Evaluation
from worldplan.agent.models.world_model import WorldModel, imagine_step

Floats = NDArray[np.float64]


def pit(draws: Tensor, came: Tensor, width: Tensor) -> Tensor:
    """Probability integral transform (...): how much of what was imagined lies below what came.

    Uniform in [0, 1] if the imagination is calibrated (Dawid 1984; Gneiting et al. 2007). Each of
    the draws (M, ...) stands for a normal of standard deviation `width` (...) around it.
    """
    below: Tensor = torch.special.ndtr((came - draws) / width.clamp(min=1e-12))
    return below.mean(0)


def coverage(transformed: Tensor, level: float) -> float:
    """Share of `pit`'s values (...) in the central band that should hold `level` of them.

    Lower: imagination is too sure of itself; higher: not sure enough. NaN values do not count.
    """
    known = transformed[~transformed.isnan()]
    return float(((known - 0.5).abs() <= level / 2).double().mean())


@torch.no_grad()
def embedding_pit(
    model: WorldModel, batch: Batch, generator: torch.Generator, draws: int = 32
) -> Tensor:
    """`pit` (K, S, H) of the embeddings 1 to K steps after the context; NaN after an episode's end.

    Futures are imagined under the actions that were taken, z drawn from the prior. What Pred
    misses even when the posterior tells it z is taken as normal noise: the squared error that
    trains it says the same.
    """
    first = model.context - 1
    steps = batch.action.shape[1] - first
    h, s = present(model, batch)
    told_h, told_s = h[:, first], s
    free_h, free_s = (u.expand(draws, *u.shape) for u in (told_h, told_s))
    shape = (steps, draws + 1, len(told_h), model.noise_dim)
    noise = torch.randn(shape, generator=generator)
    found = []
    for k in range(steps):
        a, came = batch.action[:, first + k], h[:, first + k + 1]
        z = model.posterior(told_h, told_s, a, came).sample(noise[k, 0])
        told_s = model.predict(told_h, told_s, z, a)
        told_h = model.expect(told_s)
        a_draws = a.expand(draws, *a.shape)
        free_h, free_s, _ = imagine_step(model, free_h, free_s, a_draws, noise[k, 1:])
        valid = batch.valid[:, first : first + k + 1].all(1)
        width = (told_h - came)[valid].square().mean(0).sqrt()
        found.append(pit(free_h, came, width).masked_fill(~valid[:, None], torch.nan))
    return torch.stack(found)


def band_coverage(model: WorldModel, batch: Batch, generator: torch.Generator) -> dict[str, float]:
    """Coverage of the 50% and 90% bands of imagined embeddings, over all windows and steps."""
    transformed = embedding_pit(model, batch, generator)
    return {f"coverage_{level}": coverage(transformed, level / 100) for level in (50, 90)}


def optimism(
    promised: Floats,
    rewards: Floats,
    lengths: NDArray[np.int64],
    terminated: NDArray[np.bool_],
    discount: float,
    steps: int,
) -> float:
    """How much more plans promise than the next so many steps bring and the plan then promises.

    The mean over decisions t of p(t) - [r(t) + ... + g^(n-1) r(t+n-1) + g^n p(t+n)], n = `steps`.
    Positive: the planner finds what the model or the value is wrong about. After a terminated
    episode's end p = 0; after a truncated one it is not known, and such t do not count.

    Args:
        promised, rewards: (T, B), not read from an episode's length on; lengths, terminated: (B,).

    Returns:
        NaN if no decision counts.
    """
    T, B = promised.shape
    over = np.arange(T + steps)[:, None] >= lengths
    beyond = np.zeros((steps, B))
    r = np.where(over, 0.0, np.concatenate([rewards, beyond]))
    p = np.where(over, np.where(terminated, 0.0, np.nan), np.concatenate([promised, beyond]))
    came = discount**steps * p[steps:]
    for k in range(steps):
        came = came + discount**k * r[k : T + k]
    gap = (p[:T] - came)[~over[:T]]
    return float(np.nanmean(gap)) if np.isfinite(gap).any() else float("nan")


def optimism_by_horizon(result: Evaluation, discount: float) -> dict[str, float]:
    """`optimism` after 1, 2, 4, 8 ... steps, up to the longest episode; {} without plans."""
    longest = len(result.promised)
    horizons = [2**i for i in range(longest.bit_length()) if 2**i <= longest]
    found = {
        f"after_{n}": optimism(
            result.promised, result.rewards, result.lengths, result.terminated, discount, n
        )
        for n in horizons
    }
    return {name: gap for name, gap in found.items() if np.isfinite(gap)}
