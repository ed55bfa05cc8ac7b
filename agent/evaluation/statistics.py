"""Statistics of a few returns: interquartile mean, bootstrap intervals, permutation test.

Letters: N values (episodes or runs), G groups of them, K resamples. Follows Agarwal et al. 2021,
"Deep Reinforcement Learning at the Edge of the Statistical Precipice",
https://arxiv.org/abs/2108.13264.

SciPy is imported in the functions: it takes half a second, and training needs it only at its end.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def iqm(x: npt.ArrayLike) -> float:
    """Interquartile mean of `x` (N,): the mean of its middle half.

    Exactly a quarter of the weight is cut off at either end. Where N is no multiple of 4, the
    values at the edges count in part; `trim_mean(x, 0.25)`, which rliable uses, cuts whole values,
    N // 4 at either end.

    Raises:
        ValueError: `x` is empty or not finite, as in all functions here.
    """
    return float(iqm_of_columns(_values(x)))


def iqm_of_columns(x: Floats) -> Floats:
    """Interquartile means (...) of the columns of `x` (N, ...), all of them finite; see `iqm`."""
    from scipy.stats import trim_mean

    # Four copies of each value: a quarter of them is a whole number.
    return np.asarray(trim_mean(np.repeat(x, 4, axis=0), 0.25))


def bootstrap_ci(
    x: npt.ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of `statistic` of `x` (N,), drawn as from one population.

    For few values it is too narrow, and for one value it is that value alone. The same seed gives
    the same interval.

    Args:
        statistic: of a sample (N,), or with an argument `axis`, which is faster.
    """
    from scipy.stats import bootstrap

    values = _values(x)
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(
            f"bootstrap needs 0 < level < 1 and resamples >= 1: {level=}, {resamples=}"
        )
    if len(values) == 1:  # SciPy refuses it
        alone = float(statistic(values))
        return alone, alone
    found = bootstrap(
        (values,), statistic, n_resamples=resamples, confidence_level=level, method="percentile",
        rng=seed,
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def nested_ci(
    groups: Sequence[npt.ArrayLike], level: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Bootstrap interval of the mean of G groups' means: seeds, and the episodes of each.

    Groups are resampled, and then the values within each group, because both are samples. For few
    groups it is too narrow, as `bootstrap_ci` is.
    """
    # SciPy resamples values, not groups of them.
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
    """Two-sided p of the hypothesis that both sides (N,), (M,) of each pair have one distribution.

    The statistic is the difference of means, in standard deviations of the pair, summed over the
    pairs (tasks). Labels are exchanged within each pair alone. All exchanges are tried if there
    are no more than `resamples`. Otherwise so many are drawn, and the observed one counts as one
    more (Phipson & Smyth 2010, https://arxiv.org/abs/1603.05766).
    """
    # SciPy's test takes one pair, and refuses a side of one value (a comparison of one seed).
    sides = [(_values(x), _values(y)) for x, y in pairs]
    exact = math.prod(math.comb(len(x) + len(y), len(x)) for x, y in sides) <= resamples
    rng, observed, others = np.random.default_rng(0), 0.0, np.zeros(1)
    for x, y in sides:
        pool = np.concatenate([x, y])
        # Centred: the sum of one side then gives the difference of both means.
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
    """Statistics of the returns (N,) of the episodes of `seeds`, as JSON.

    `mean`, `std` (of these N, ddof 0), `iqm`, `ci95` (low and high, of the mean), `returns`,
    `seeds`. Raises ValueError unless there is one return per seed.
    """
    values = _values(returns)
    if len(values) != len(seeds):
        raise ValueError(f"{len(values)} returns of {len(seeds)} seeds: one each is needed")
    return {
        "mean": float(values.mean()),
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
