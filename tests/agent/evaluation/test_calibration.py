"""Calibration, of imaginations that are right, too sure, and not sure enough."""

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
from worldplan.agent.data.replay import Batch
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
def test_the_transform_of_a_normal_imagination_has_the_coverage_it_must(scale: float) -> None:
    """What comes is standard normal; imagined is `scale` times it."""
    transformed = pit(scale * normal(2000, 1), normal(10_000, seed=1), torch.tensor(1e-3))
    for level in (0.5, 0.9):
        band = scale * float(torch.special.ndtri(torch.tensor(0.5 + level / 2)))
        assert coverage(transformed, level) == near(math.erf(band / math.sqrt(2)))
    if scale == 1.0:
        histogram = torch.histc(transformed, 10, 0, 1) / len(transformed)
        assert (histogram - 0.1).abs().max() < 0.02


def test_two_modes_are_calibrated_only_if_both_are_imagined() -> None:
    """What comes is 1 or -1 and a little noise."""
    came = (2 * (normal(10_000) > 0) - 1) + 0.1 * normal(10_000, seed=1)
    both = torch.tensor([1.0, -1.0]).view(2, 1)
    width = torch.tensor(0.1)
    assert coverage(pit(both, came, width), 0.5) == near(0.5)
    assert coverage(pit(both, came, width), 0.9) == near(0.9)
    # One mode alone: the other half lies outside all bands.
    assert coverage(pit(both[:1], came, width), 0.9) == near(0.45)
    # The useless mean, as wide as what came: nothing in the middle.
    assert coverage(pit(torch.zeros(1, 1), came, torch.tensor(1.0)), 0.5) < 0.02


def test_what_ended_does_not_count() -> None:
    values = torch.tensor([0.5, math.nan, 0.99, math.nan])
    assert coverage(values, 0.5) == 0.5


class Lucky(World):
    """Believes in `luck`; told what came, it knows which z it was, of a true luck of 1."""

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        z = (h_next - h - self.push * a) / self.luck
        return Gaussian(z, torch.full_like(z, 1e-3))


def lucky_batch(steps: int = 1, count: int = 2000) -> Batch:
    """What happens is x' = x + a + noise of unit variance."""
    b = batch(steps, count)
    noise = torch.cat([torch.zeros(count, 1, 3), normal(count, steps, 3, seed=4).cumsum(1)], 1)
    return replace(b, observation=b.observation + noise)


@pytest.mark.parametrize(("luck", "sure"), [(1.0, 0), (0.3, 1), (3.0, -1)])
def test_bands_of_a_model_that_is_right_too_sure_and_unsure(luck: float, sure: int) -> None:
    measured = band_coverage(Lucky(luck=luck), lucky_batch(), rng())
    for level in (50, 90):
        # Of 32 draws the outermost stand for the tails, which takes a little off the bands.
        error = measured[f"coverage_{level}"] - level / 100
        assert abs(error) < 0.05 if sure == 0 else -sure * error > 0.06


def test_bands_are_of_every_step_until_the_episode_ends() -> None:
    world, b = Lucky(luck=1.0), lucky_batch(steps=3)
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
    world, b = Lucky(luck=1.0, context=3), lucky_batch(steps=4)
    transformed = embedding_pit(world, b, rng())
    assert len(transformed) == 2
    assert len(world.filtered) == 2
    assert torch.equal(world.filtered[1], b.observation[:, 1:3].transpose(0, 1))


def test_the_same_seed_gives_the_same_measure() -> None:
    world, b = Lucky(luck=0.5), lucky_batch()
    assert band_coverage(world, b, rng(1)) == band_coverage(world, b, rng(1))
    assert band_coverage(world, b, rng(1)) != band_coverage(world, b, rng(2))


G = 0.9


def episodes() -> tuple[np.ndarray, ...]:
    """Two episodes of unit reward, of 3 and 4 decisions; the first terminates. Promised is what
    comes, as if the second went on for ever."""
    promised = np.array([[2.71, 10.0], [1.9, 10.0], [1.0, 10.0], [77.0, 10.0]])
    rewards = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [55.0, 1.0]])
    return promised, rewards, np.array([3, 4]), np.array([True, False])


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_plan_that_keeps_its_promise_is_not_optimistic(steps: int) -> None:
    promised, rewards, lengths, terminated = episodes()
    gap = optimism(promised, rewards, lengths, terminated, G, steps)
    assert gap == pytest.approx(0, abs=1e-9)
    # A promise of 0.5 too much at the first decisions alone, 2 of which count 7 minus the cut.
    promised[0] += 0.5
    counted = 3 + max(0, 4 - steps)
    kept = 2 if steps < 4 else 1
    gap = optimism(promised, rewards, lengths, terminated, G, steps)
    assert gap == pytest.approx(0.5 * kept / counted)


def test_a_promise_too_high_everywhere_shows_where_it_is_not_kept() -> None:
    promised, rewards, lengths, terminated = episodes()
    gap = optimism(promised[:, 1:] + 1, rewards[:, 1:], lengths[1:], terminated[1:], G, 2)
    assert gap == pytest.approx(1 - G**2)  # the next promise is too high as well
    gap = optimism(promised[:, :1] + 1, rewards[:, :1], lengths[:1], terminated[:1], G, 4)
    assert gap == pytest.approx(1)  # nothing follows


def test_optimism_by_horizon_goes_up_to_the_longest_episode() -> None:
    promised, rewards, lengths, terminated = episodes()
    result = Evaluation(
        "planner", [0, 1], rewards.sum(0), lengths, terminated, 0.0, promised[0],
        promised[0], promised, rewards,
    )  # fmt: skip
    found = optimism_by_horizon(result, G)
    assert list(found) == ["after_1", "after_2", "after_4"]
    assert list(found.values()) == pytest.approx([0, 0, 0], abs=1e-9)
    silent = replace(result, promised=np.full_like(promised, np.nan))
    assert optimism_by_horizon(silent, G) == {}


@pytest.mark.parametrize("kind", ["none", "gaussian"])
def test_every_run_logs_them(
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
