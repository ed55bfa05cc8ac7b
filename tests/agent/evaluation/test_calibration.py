"""Calibration of models that are calibrated, overconfident and underconfident."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from tests.helpers.small_models import rng
from tests.helpers.worlds import World, batch
from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.batch import Batch
from worldplan.agent.evaluation.calibration import (
    band_coverage,
    coverage,
    embedding_pit,
    optimism,
    optimism_by_horizon,
    pit,
)
from worldplan.agent.evaluation.evaluate import Evaluation
from worldplan.agent.models.latent import Gaussian, LatentDistribution
from worldplan.agent.training.trainer import Trainer


def near(expected: float) -> object:
    return pytest.approx(expected, abs=0.02)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=rng(seed))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_coverage_of_normal_predictions_by_hand(scale: float) -> None:
    """Observed is a standard normal; predicted is `scale` times it."""
    transformed = pit(scale * normal(2000, 1), normal(10_000, seed=1), torch.tensor(1e-3))
    for level in (0.5, 0.9):
        band = scale * float(torch.special.ndtri(torch.tensor(0.5 + level / 2)))
        assert coverage(transformed, level) == near(math.erf(band / math.sqrt(2)))
    if scale == 1.0:
        histogram = torch.histc(transformed, 10, 0, 1) / len(transformed)
        assert (histogram - 0.1).abs().max() < 0.02


def test_two_modes_are_calibrated_only_if_both_are_predicted() -> None:
    """Observed is 1 or -1 plus a little noise."""
    observed = (2 * (normal(10_000) > 0) - 1) + 0.1 * normal(10_000, seed=1)
    both = torch.tensor([1.0, -1.0]).view(2, 1)
    width = torch.tensor(0.1)
    assert coverage(pit(both, observed, width), 0.5) == near(0.5)
    assert coverage(pit(both, observed, width), 0.9) == near(0.9)
    # One mode alone: the other half lies outside all bands.
    assert coverage(pit(both[:1], observed, width), 0.9) == near(0.45)
    # The useless mean, as wide as the observed values: nothing in the middle.
    assert coverage(pit(torch.zeros(1, 1), observed, torch.tensor(1.0)), 0.5) < 0.02


def test_steps_after_the_end_do_not_count() -> None:
    values = torch.tensor([0.5, math.nan, 0.99, math.nan])
    assert coverage(values, 0.5) == 0.5


class Noisy(World):
    """Predicts noise of standard deviation `spread`; the true one is 1. Its posterior knows z."""

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        z = (h_next - h - self.push * a) / self.spread
        return Gaussian(z, torch.full_like(z, 1e-3))


def noisy_batch(steps: int = 1, count: int = 2000) -> Batch:
    """The world is x' = x + a + noise of unit variance."""
    b = batch(steps, count)
    noise = torch.cat([torch.zeros(count, 1, 3), normal(count, steps, 3, seed=4).cumsum(1)], 1)
    return replace(b, observation=b.observation + noise)


@pytest.mark.parametrize(("std", "confidence"), [(1.0, 0), (0.3, 1), (3.0, -1)])
def test_bands_of_calibrated_overconfident_and_underconfident_models(
    std: float, confidence: int
) -> None:
    measured = band_coverage(Noisy(spread=std), noisy_batch(), rng())
    for level in (50, 90):
        # The outermost of 32 draws are the tails, which makes the bands a little narrower.
        error = measured[f"coverage_{level}"] - level / 100
        assert abs(error) < 0.05 if confidence == 0 else -confidence * error > 0.06


def test_bands_are_of_every_step_until_the_episode_ends() -> None:
    world, b = Noisy(spread=1.0), noisy_batch(steps=3)
    b.valid[::2, 1:] = False
    transformed = embedding_pit(world, b, rng(), draws=64)
    assert transformed.shape == (3, 2000, 3)
    assert not transformed[0].isnan().any()
    assert transformed[1:, ::2].isnan().all()
    assert not transformed[1:, 1::2].isnan().any()
    for k in range(3):
        assert coverage(transformed[k], 0.5) == near(0.5)
        assert coverage(transformed[k], 0.9) == pytest.approx(0.9, abs=0.03)  # of 64 draws


def test_the_context_is_filtered_first() -> None:
    world, b = Noisy(spread=1.0, context=3), noisy_batch(steps=4)
    transformed = embedding_pit(world, b, rng())
    assert len(transformed) == 2
    assert len(world.filtered) == 2
    assert torch.equal(world.filtered[1], b.observation[:, 1:3].transpose(0, 1))


def test_the_same_seed_gives_the_same_measure() -> None:
    world, b = Noisy(spread=0.5), noisy_batch()
    assert band_coverage(world, b, rng(1)) == band_coverage(world, b, rng(1))
    assert band_coverage(world, b, rng(1)) != band_coverage(world, b, rng(2))


G = 0.9


def episodes() -> tuple[np.ndarray, ...]:
    """Two episodes of unit reward, of 3 and 4 decisions; the first terminates. Predicted is the
    true return, as if the second had no end."""
    predicted = np.array([[2.71, 10.0], [1.9, 10.0], [1.0, 10.0], [77.0, 10.0]])
    rewards = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [55.0, 1.0]])
    return predicted, rewards, np.array([3, 4]), np.array([True, False])


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_correct_prediction_is_not_optimistic(steps: int) -> None:
    predicted, rewards, lengths, terminated = episodes()
    gap = optimism(predicted, rewards, lengths, terminated, G, steps)
    assert gap == pytest.approx(0, abs=1e-9)
    # 0.5 too much at the first decision alone, of two episodes; `counted` decisions count.
    predicted[0] += 0.5
    counted = 3 + max(0, 4 - steps)
    kept = 2 if steps < 4 else 1
    gap = optimism(predicted, rewards, lengths, terminated, G, steps)
    assert gap == pytest.approx(0.5 * kept / counted)


def test_predictions_that_are_too_high_everywhere() -> None:
    predicted, rewards, lengths, terminated = episodes()
    gap = optimism(predicted[:, 1:] + 1, rewards[:, 1:], lengths[1:], terminated[1:], G, 2)
    assert gap == pytest.approx(1 - G**2)  # the next prediction is too high as well
    gap = optimism(predicted[:, :1] + 1, rewards[:, :1], lengths[:1], terminated[:1], G, 4)
    assert gap == pytest.approx(1)  # nothing follows


def test_optimism_by_horizon_goes_up_to_the_longest_episode() -> None:
    predicted, rewards, lengths, terminated = episodes()
    result = Evaluation(
        "planner", [0, 1], rewards.sum(0), lengths, terminated, 0.0, predicted[0],
        predicted[0], predicted, rewards,
    )  # fmt: skip
    found = optimism_by_horizon(result, G)
    assert list(found) == ["after_1", "after_2", "after_4"]
    assert list(found.values()) == pytest.approx([0, 0, 0], abs=1e-9)
    silent = replace(result, plan_returns=np.full_like(predicted, np.nan))
    assert optimism_by_horizon(silent, G) == {}


@pytest.mark.parametrize("kind", ["none", "gaussian"])
def test_every_run_logs_calibration_and_optimism(
    kind: str, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    settings = [*small, f"model.latent.kind={kind}", "steps=60", "eval_interval=50"]
    Trainer(resolve(toy, settings), tmp_path, Console(quiet=True)).run()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"optimism/after_1", "optimism/after_2"} <= tags
    bands = {"calibration/coverage_50", "calibration/coverage_90"}
    assert tags & bands == (bands if kind == "gaussian" else set())
