"""What a handful of returns tells: interquartile mean and bootstrap intervals.

Letters: N values (episodes or runs). Follows Agarwal et al. 2021, "Deep Reinforcement Learning at
the Edge of the Statistical Precipice", https://arxiv.org/abs/2108.13264.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def mean(x: npt.ArrayLike) -> float:
    """Mean of `x` (N,). Raises ValueError if it is empty or not finite, as do all here."""
    return float(_values(x).mean())


def iqm(x: npt.ArrayLike) -> float:
    """Interquartile mean of `x` (N,): the mean of its middle half.

    Exactly a quarter of the weight is cut off at either end, so where N is no multiple of 4 the
    values on the edges count in part. `scipy.stats.trim_mean(x, 0.25)`, which rliable uses, cuts
    whole values, N // 4 at either end: the same for multiples of 4, more than half otherwise.
    """
    values = np.sort(_values(x))
    n = len(values)
    # Sorted value i fills the stretch from i to i + 1; weigh it by what lies in the middle half.
    start = np.arange(n)
    weight = np.minimum(start + 1, 0.75 * n) - np.maximum(start, 0.25 * n)
    return float(np.average(values, weights=np.maximum(weight, 0)))


def bootstrap_ci(
    x: npt.ArrayLike,
    statistic: Callable[[Floats], float] = mean,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of `statistic` of `x` (N,), drawn as from one population.

    It is too narrow for few values, and for one it is that value alone. The same seed gives the
    same interval.
    """
    values = _values(x)
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(
            f"bootstrap needs 0 < level < 1 and resamples >= 1: {level=}, {resamples=}"
        )
    rng = np.random.default_rng(seed)
    draws = values[rng.integers(len(values), size=(resamples, len(values)))]
    low, high = np.quantile([statistic(draw) for draw in draws], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def summary(returns: npt.ArrayLike, seeds: Sequence[int]) -> dict[str, Any]:
    """Returns (N,) of the episodes of `seeds`, summed up as JSON.

    `mean`, `std` (the spread of these N, ddof 0), `iqm`, `ci95` (low and high, of the mean),
    `returns`, `seeds`. Raises ValueError unless there is one return per seed.
    """
    values = _values(returns)
    if len(values) != len(seeds):
        raise ValueError(f"{len(values)} returns of {len(seeds)} seeds: one each is needed")
    return {
        "mean": mean(values),
        "std": float(values.std()),
        "iqm": iqm(values),
        "ci95": list(bootstrap_ci(values)),
        "returns": values.tolist(),
        "seeds": [int(seed) for seed in seeds],
    }


def _values(x: npt.ArrayLike) -> Floats:
    values = np.asarray(x, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"need a row of at least one number, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"not all numbers are finite: {values}")
    return values
