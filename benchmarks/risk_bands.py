"""Do gusts come as they were imagined? The windows of Gusts that `risk.py` measures calibration on.

Shapes: T steps, S windows, D observation, A action.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldplan.agent import Agent
from worldplan.agent.data.batch import Batch
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.calibration import coverage, embedding_pit
from worldplan.envs import EnvConfig, make_vector
from worldplan.envs.tasks.gorge import on_bridge, steer

BANDS = (10, 30, 50, 70, 90)  # of imagined embeddings, in %
WINDOWS, AHEAD = 400, 5
EPISODES, NOISE = 1600, 0.3  # of the heading; not all come to the bridge


def bands(agent: Agent, batch: Batch) -> list[float]:
    """Coverage of each of `BANDS` over the windows of a batch."""
    transformed = embedding_pit(agent.model, batch, torch.Generator().manual_seed(0), 64)
    return [round(coverage(transformed, band / 100), 4) for band in BANDS]


def windows(gust: float) -> tuple[Batch, Batch]:
    """Held-out, steered by rule to the bridge with some noise, from where the task itself starts.

    From one place alone, whatever Pred misses there would be the same in all windows: a bias, which
    no spread covers.

    Returns:
        `WINDOWS` of `AHEAD` steps from the start, and as many of the one step in which a gust
        may come.
    """
    rng = np.random.default_rng(0)
    world = make_vector(EnvConfig(id="worldplan/Gusts-v0", kwargs={"gust": gust}), EPISODES)
    x = world.reset(held_out_seeds(EPISODES, 1000))
    seen, acted, valid, meeting = [x], [], [], []
    running, free = np.ones((2, EPISODES), np.bool_)
    while running.any():
        wanted = np.array([steer("bridge", float(p[0]), float(p[1])) for p in x])
        a = np.clip(wanted + NOISE * rng.standard_normal(EPISODES), -1, 1)
        acted.append(a[:, None].astype(np.float32))
        valid.append(running)
        meeting.append(running & free & on_bridge(*x[:, :2].T))
        free = free & ~meeting[-1]
        x, _, terminated, truncated = world.step(acted[-1], running)
        seen.append(x)
        running = running & ~(terminated | truncated)
    world.close()
    who, t = (u[:WINDOWS] for u in np.nonzero(np.stack(meeting, 1)))
    assert len(t) == WINDOWS, "too few episodes came to the bridge"
    xs, acts = np.stack(seen), np.stack(acted)
    return (
        _batch(
            xs[: AHEAD + 1, :WINDOWS], acts[:AHEAD, :WINDOWS], np.stack(valid)[:AHEAD, :WINDOWS]
        ),
        _batch(
            np.stack([xs[t, who], xs[t + 1, who]]), acts[t, who][None], np.ones((1, len(t)), bool)
        ),
    )


def _batch(x: NDArray[Any], a: NDArray[Any], valid: NDArray[Any]) -> Batch:
    """Of x (T+1, S, D), a (T, S, A), valid (T, S), and no rewards."""

    def sequences(u: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(u.swapaxes(0, 1)))

    nothing = torch.zeros(valid.shape[::-1])
    return Batch(sequences(x), sequences(a), nothing, nothing, sequences(valid))
