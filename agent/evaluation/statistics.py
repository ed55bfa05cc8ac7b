"""What a handful of returns tells: interquartile mean, bootstrap intervals, a test of difference.

Letters: N values (episodes or runs), G groups of them, K resamples. Follows Agarwal et al. 2021,
"Deep Reinforcement Learning at the Edge of the Statistical Precipice",
https://arxiv.org/abs/2108.13264.
"""

import itertools
import math
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


def nested_ci(
    groups: Sequence[npt.ArrayLike], level: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Bootstrap interval of the mean of G groups' means: seeds, and the episodes of each.

    Groups are drawn anew, and then the values within each, because both are samples. Too narrow
    for few groups, like `bootstrap_ci`.
    """
    rng = np.random.default_rng(0)
    slots = (resamples, len(groups))
    means = []  # (G, K, slots): what each group would give if it were drawn for that slot
    for group in map(_values, groups):
        means.append(group[rng.integers(len(group), size=(*slots, len(group)))].mean(-1))
    chosen = rng.integers(len(groups), size=slots)
    drawn = np.take_along_axis(np.stack(means), chosen[None], 0)[0].mean(-1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permutation_test(*pairs: tuple[npt.ArrayLike, npt.ArrayLike], resamples: int = 20_000) -> float:
    """Two-sided p of the two sides (N,), (M,) of each pair being drawn alike.

    The statistic is the difference of means, in standard deviations of the pair; of several pairs
    (tasks), the sum, and labels are exchanged within each pair alone. All exchanges are tried if
    there are no more than `resamples`; else so many are drawn, and the one that was observed
    counts as one more (Phipson & Smyth 2010, https://arxiv.org/abs/1603.05766).
    """
    sides = [(_values(x), _values(y)) for x, y in pairs]
    exact = math.prod(math.comb(len(x) + len(y), len(x)) for x, y in sides) <= resamples
    rng, observed, others = np.random.default_rng(0), 0.0, np.zeros(1)
    for x, y in sides:
        pool = np.concatenate([x, y])
        # Centred, so that the sum of one side alone tells the difference of both means.
        pool = (pool - pool.mean()) / (pool.std() or 1.0) * (1 / len(x) + 1 / len(y))
        observed += pool[: len(x)].sum()
        if exact:
            sums = [sum(side) for side in itertools.combinations(pool, len(x))]
            others = np.add.outer(others, sums).ravel()
        else:
            drawn = rng.permuted(np.tile(pool, (resamples, 1)), axis=1)
            others = others + drawn[:, : len(x)].sum(1)
    as_extreme = np.abs(others) >= abs(observed) - 1e-9
    return float(as_extreme.mean() if exact else (as_extreme.sum() + 1) / (resamples + 1))


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
