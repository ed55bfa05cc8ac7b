"""Statistics against numbers worked out by hand, and SciPy where it defines the same."""

import json
import math

import numpy as np
import pytest
from scipy.stats import permutation_test as scipys
from scipy.stats import trim_mean

from worldplan.agent.evaluation.statistics import (
    bootstrap_ci,
    iqm,
    nested_ci,
    permutation_test,
    summary,
)


@pytest.mark.parametrize(
    ("x", "wanted"),
    [
        ([7], 7),
        ([1, 3], 2),
        # 3 values: the middle half is [0.75, 2.25], weights 1/4, 1, 1/4
        ([0, 10, 100], (0.25 * 0 + 10 + 0.25 * 100) / 1.5),
        ([1000, 2, 4, -1000], 3),
        # 5 values: weights 3/4, 1, 3/4 on the middle three
        ([0, 1, 2, 6, 100], (0.75 * 1 + 2 + 0.75 * 6) / 2.5),
        # 6 values: a quarter is 1.5, weights 1/2, 1, 1, 1/2
        ([-9, 1, 2, 3, 8, 99], (0.5 * 1 + 2 + 3 + 0.5 * 8) / 3),
        ([0, 0, 1, 2, 3, 4, 99, 99], 2.5),
    ],
)
def test_iqm_by_hand(x: list[float], wanted: float) -> None:
    assert iqm(x) == pytest.approx(wanted)
    assert iqm(x[::-1]) == pytest.approx(wanted)


@pytest.mark.parametrize("n", [4, 8, 20, 100])
def test_iqm_is_scipys_for_multiples_of_four(n: int) -> None:
    x = np.random.default_rng(n).standard_cauchy(n)
    assert iqm(x) == pytest.approx(trim_mean(x, 0.25))


def test_iqm_cuts_fractions_where_scipy_cuts_whole_values() -> None:
    x = [0, 1, 2, 6, 100]
    assert trim_mean(x, 0.25) == 3
    assert iqm(x) == pytest.approx(2.9)


def test_bootstrap_is_repeatable_and_follows_its_seed() -> None:
    x = np.random.default_rng(0).normal(5, 2, 30)
    assert bootstrap_ci(x) == bootstrap_ci(x)
    assert bootstrap_ci(x) != bootstrap_ci(x, seed=1)
    low, high = bootstrap_ci(x)
    narrow = bootstrap_ci(x, level=0.5)
    assert low < narrow[0] < x.mean() < narrow[1] < high


def test_bootstrap_by_hand() -> None:
    # Two values: the mean is 0, 1 and 2 with probabilities 1/4, 1/2, 1/4.
    assert bootstrap_ci([0, 2], level=0.95) == (0, 2)
    assert bootstrap_ci([0, 2], level=0.4) == (1, 1)
    assert bootstrap_ci([3]) == (3, 3)
    assert bootstrap_ci([3, 3, 3], iqm) == (3, 3)


def test_bootstrap_of_the_mean_is_near_the_normal_interval() -> None:
    x = np.random.default_rng(1).normal(0, 1, 400)
    half = 1.96 * x.std() / 20
    assert bootstrap_ci(x, resamples=4000) == pytest.approx(
        (x.mean() - half, x.mean() + half), abs=0.01
    )


def test_bootstrap_takes_a_statistic() -> None:
    x = [1.0, 2, 3, 4, 5, 6, 7, 1000]
    assert bootstrap_ci(x, np.median)[1] < 10 < bootstrap_ci(x)[1]
    # The same statistic without an axis.
    assert bootstrap_ci(x, lambda draw: np.median(draw)) == bootstrap_ci(x, np.median)


def test_bootstrap_is_the_quantiles_of_resampled_means() -> None:
    x = np.random.default_rng(0).normal(5, 2, 10)
    draws = x[np.random.default_rng(7).integers(10, size=(2000, 10))].mean(1)
    wanted = np.quantile(draws, [0.05, 0.95])
    assert bootstrap_ci(x, level=0.9, seed=7) == pytest.approx(wanted)


def test_nested_bootstrap_by_hand() -> None:
    # Two seeds whose episodes agree: the mean is 0, 1 and 2 with probabilities 1/4, 1/2, 1/4.
    assert nested_ci([[0, 0, 0], [2, 2]], level=0.95) == (0, 2)
    assert nested_ci([[0, 0, 0], [2, 2]], level=0.4) == (1, 1)
    # One seed: its episodes alone vary.
    assert nested_ci([[0, 2]], level=0.95) == (0, 2)
    assert nested_ci([[1, 2, 3], [5]]) == nested_ci([[1, 2, 3], [5]])


def test_nested_bootstrap_is_wider_than_one_that_takes_episodes_of_a_seed_for_independent() -> None:
    seeds = [np.full(10, value) for value in (0.0, 1.0, 5.0)]
    low, high = nested_ci(seeds)
    flat_low, flat_high = bootstrap_ci(np.concatenate(seeds))
    assert high - low > 2 * (flat_high - flat_low)


def test_permutation_test_by_hand() -> None:
    # Of the 6 ways to call two of four numbers x, {1, 2} and {3, 4} differ as much as observed.
    assert permutation_test(([1, 2], [3, 4])) == pytest.approx(2 / 6)
    # 20 ways for three and three; the extremes are two of them.
    assert permutation_test(([1, 2, 3], [7, 8, 9])) == pytest.approx(2 / 20)
    # Differences -3, -1.5 and 4.5: the observed one is second.
    assert permutation_test(([0], [1, 5])) == pytest.approx(2 / 3)
    # Two such pairs that point the same way: 2 of 400; opposite ways: nothing is seen.
    clear = ([1, 2, 3], [7, 8, 9])
    assert permutation_test(clear, clear) == pytest.approx(2 / 400)
    assert permutation_test(clear, clear[::-1]) == 1
    assert permutation_test(([5, 5], [5, 5])) == 1


@pytest.mark.parametrize("seed", range(4))
def test_permutation_test_is_scipys_where_all_exchanges_are_tried(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 1, 5), rng.normal(1, 2, 5)
    wanted = scipys((x, y), lambda u, v: np.mean(u) - np.mean(v), n_resamples=np.inf)
    assert permutation_test((x, y)) == pytest.approx(wanted.pvalue)


def test_permutation_test_of_random_exchanges_is_near_the_exact_one_and_never_zero() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, 7), rng.normal(1, 1, 7)
    exact = permutation_test((x, y))
    assert permutation_test((x, y), resamples=3000) == pytest.approx(exact, abs=0.02)
    assert permutation_test((x, y), resamples=3000) == permutation_test((x, y), resamples=3000)
    assert permutation_test((np.zeros(20), np.ones(20)), resamples=99) == pytest.approx(1 / 100)


def test_permutation_test_of_a_small_and_a_large_pair() -> None:
    rng = np.random.default_rng(5)
    # All 20 exchanges of the small pair, but not of the large one, are fewer than the resamples.
    small = ([1, 2, 3], [7, 8, 9])
    large = rng.normal(0, 1, 7), rng.normal(0.5, 1, 7)
    exact = permutation_test(small, large, resamples=20 * math.comb(14, 7))
    assert permutation_test(small, large, resamples=3000) == pytest.approx(exact, abs=0.01)
    assert permutation_test(large, small, resamples=3000) == pytest.approx(exact, abs=0.01)


def test_summary() -> None:
    result = summary(np.array([1, 2, 3, 10], np.float32), range(100, 104))
    assert result["mean"] == 4
    assert result["std"] == pytest.approx(np.sqrt((9 + 4 + 1 + 36) / 4))
    assert result["iqm"] == 2.5
    assert result["ci95"] == list(bootstrap_ci([1, 2, 3, 10]))
    assert result["returns"] == [1, 2, 3, 10]
    assert result["seeds"] == [100, 101, 102, 103]
    assert json.loads(json.dumps(result)) == result
    assert summary([5.0], [1])["std"] == 0


def test_wrong_numbers_are_refused() -> None:
    for bad in ([], [[1, 2]], 3):
        with pytest.raises(ValueError, match="at least one number"):
            iqm(bad)
    with pytest.raises(ValueError, match="not all numbers are finite"):
        summary([1, float("nan")], [0, 1])
    with pytest.raises(ValueError, match="3 returns of 2 seeds"):
        summary([1, 2, 3], [0, 1])
    with pytest.raises(ValueError, match="0 < level < 1"):
        bootstrap_ci([1, 2], level=95)
