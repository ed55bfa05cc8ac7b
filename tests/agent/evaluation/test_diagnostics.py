"""Measures of a model, on models whose measures are known."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import rng
from tests.helpers.worlds import D, World, batch
from worldplan.agent.evaluation.diagnostics import (
    PolicyLag,
    collapse_warning,
    diagnose,
    diagnose_policy,
    effective_rank,
)
from worldplan.agent.learning.units import RewardUnit
from worldplan.planners import Box


def near(expected: float) -> object:
    return pytest.approx(expected, rel=0.05)


def test_effective_rank_of_known_cases() -> None:
    line = torch.randn(100, 1, generator=rng()) * torch.randn(1, 8, generator=rng(1))
    assert effective_rank(line) == pytest.approx(1, abs=0.01)
    assert effective_rank(100 * line) == pytest.approx(1, abs=0.01)
    # A large common part and small differences: one direction.
    assert effective_rank(1e-4 * torch.randn(100, 8, generator=rng()) + 1) < 1.1
    assert effective_rank(torch.zeros(10, 4)) == pytest.approx(1)
    # Singular values 3, 1 (twice each sign of an orthogonal pair): shares 3/4 and 1/4.
    h = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    expected = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert effective_rank(h) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("d", [2, 5, 20])
def test_effective_rank_of_isotropic_embeddings_is_their_dimension(d: int) -> None:
    h = torch.randn(20_000, d, generator=rng())
    assert effective_rank(h) == near(d)
    wide = torch.cat([h, 1e-6 * torch.randn(20_000, 10, generator=rng(1))], 1)
    assert effective_rank(wide) == near(d)
    assert effective_rank(1e-3 * h) == near(d)


def test_measures_of_a_correct_model() -> None:
    measures = diagnose(World(), batch(), rng())
    apart = math.sqrt(1 + 1 / 3)  # deviation of x' in each dimension
    assert measures["model_error"] == 0
    assert measures["action_sensitivity"] == near(math.sqrt(2 / 3) / apart)
    assert measures["latent_sensitivity"] == 0
    assert measures["embedding_std"] == near(1)
    assert measures["effective_rank"] == near(D)


def test_a_model_that_ignores_actions_is_not_sensitive_to_them() -> None:
    measures = diagnose(World(push=0, spread=0.5), batch(), rng())
    apart = math.sqrt(1 + 1 / 3)
    assert measures["action_sensitivity"] == 0
    assert measures["latent_sensitivity"] == near(0.5 * math.sqrt(2) / apart)
    assert measures["model_error"] == near(math.sqrt(1 / 3 + 0.25) / apart)


def test_the_error_of_predicting_the_mean_is_one() -> None:
    class Mean(World):
        def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
            return torch.zeros_like(h)

    assert diagnose(Mean(), batch(), rng())["model_error"] == near(1)


def test_measures_are_of_the_step_after_the_context() -> None:
    world, b = World(context=3), batch(steps=4)
    measures = diagnose(world, b, rng())
    x = b.observation
    expected = [torch.stack([x[:, t], x[:, t + 1]]) for t in range(2)]
    assert torch.equal(torch.stack(world.filtered), torch.stack(expected))
    assert measures["model_error"] == pytest.approx(0, abs=1e-6)
    assert measures["embedding_std"] == near(math.sqrt(1 + 2 / 3))


def test_the_same_seed_gives_the_same_measures() -> None:
    world, b = World(spread=1.0), batch(count=50)
    assert diagnose(world, b, rng()) == diagnose(world, b, rng())
    assert diagnose(world, b, rng()) != diagnose(world, b, rng(1))


def test_spread_is_deviation_as_a_share_of_size() -> None:
    b = batch()
    spread = diagnose(World(), replace(b, observation=10 * (b.observation + 7)), rng())
    assert spread["embedding_std"] == near(10)
    assert spread["embedding_spread"] == near(1 / math.sqrt(1 + 49))


@pytest.mark.parametrize(
    ("rank", "spread"), [(1.2, 0.3), (40.0, 0.05), (1.0, 0.0), (1.9, 0.3), (math.nan, 0.3)]
)
def test_collapse_raises_a_warning_that_names_the_remedy(rank: float, spread: float) -> None:
    measures = {"effective_rank": rank, "embedding_spread": spread}
    warning = collapse_warning(measures, dimensions=20)
    assert warning is not None
    assert "\n" not in warning
    for part in (f"{rank:.1f}", f"{spread:.1e}", "model.anti_collapse=", "task_gradient=true"):
        assert part in warning


@pytest.mark.parametrize(("rank", "dimensions"), [(1.6, 1), (1.6, 4), (2.1, 20), (60.0, 500)])
def test_no_warning_for_a_healthy_embedding(rank: float, dimensions: int) -> None:
    measures = {"effective_rank": rank, "embedding_spread": 0.2}
    assert collapse_warning(measures, dimensions) is None


class KnownHeads(torch.nn.Module):
    """Q is the sum of x and a, and the policy takes the sign of x in one component, 0 in others."""

    actions = Box(D)

    unit = RewardUnit()

    class code:
        decode = staticmethod(lambda values: values)

    def act(self, f: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        action = torch.zeros_like(noise)
        action[:, 0] = f[:, 0].sign()
        return action, noise[:, 0]

    def values(self, f: Tensor, a: Tensor) -> Tensor:
        return torch.stack([f.sum(-1) + a.sum(-1), f.sum(-1) + a.sum(-1) + 2])


def test_measures_of_a_known_policy_and_value() -> None:
    b = batch()
    measures = diagnose_policy(World(), KnownHeads(), b, rng())  # type: ignore[arg-type]
    assert measures["saturated"] == pytest.approx(1 / D)
    x, a = b.observation[:, 0].sum(-1), b.action[:, 0].sum(-1)
    assert measures["q_executed"] == pytest.approx(float((x + a).mean()) + 1, abs=1e-4)
    sign = b.observation[:, 0, 0].sign()
    assert measures["q_policy"] == pytest.approx(float((x + sign).mean()) + 1, abs=1e-4)
    assert measures["q_random"] == pytest.approx(float(x.mean()) + 1, abs=0.1)


def test_a_policy_that_lags_is_told_once() -> None:
    lag = PolicyLag(20, ["updates_per_step=2", "more steps"])
    assert lag.notice(10, 0.0, -50.0) is None  # the lowest return is -50
    assert lag.notice(15, 100.0, -40.0) is None  # too early to tell
    assert lag.notice(20, 100.0, 1.0) is None  # 51 of 150 gained
    warning = lag.notice(25, 100.0, -1.0)
    assert warning is not None
    assert "policy alone returns -1.00 where the planner returns 100.0" in warning
    assert warning.endswith("Try updates_per_step=2 or more steps")
    assert lag.notice(30, 100.0, -1.0) is None


def test_a_policy_that_is_nearly_as_good_does_not_lag() -> None:
    lag = PolicyLag(20, ["more steps"])
    assert lag.notice(20, 964.0, 960.0) is None  # nothing was gained on the lowest return yet
    assert lag.notice(25, 964.0, 950.0) is None  # the policy's is the lowest, by little
    assert lag.notice(30, -4.0, -4.3) is None
    assert lag.notice(35, 964.0, 0.0) is not None


def test_diagnosis_of_a_collapsed_encoder_warns() -> None:
    class Same(World):
        def encode(self, x: Tensor) -> Tensor:
            return torch.ones_like(x) + 0 * x

    measures = diagnose(Same(), batch(count=100), rng())
    assert measures["effective_rank"] == pytest.approx(1, abs=0.01)
    assert collapse_warning(measures, D) is not None
    assert collapse_warning(diagnose(World(), batch(count=100), rng()), D) is None
