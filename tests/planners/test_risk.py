"""Risk measures against values computed by hand, and the plans that they lead to."""

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from tests.helpers.small_models import rng
from worldplan.planners import RISKS, Box, PlannerConfigUnion, Risk, RiskMeasure, make_planner
from worldplan.planners.planner import stratified

RISK: TypeAdapter[RiskMeasure] = TypeAdapter(Risk)

COSTS = torch.tensor([1.0, 5.0, 2.0, 4.0])
# Half the squared length: 0, 2, 0.5, 4.5
NOISE = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, -1.0], [0.0, 3.0]])[:, None]


@pytest.mark.parametrize(
    ("risk", "expected"),
    [
        ("mean", 3.0),
        ("worst", 5.0),
        ("best", 1.0),
        ({"kind": "cvar", "alpha": 1.0}, 3.0),
        ({"kind": "cvar", "alpha": 0.5}, 4.5),
        ({"kind": "cvar", "alpha": 0.25}, 5.0),
        ({"kind": "cvar", "alpha": 0.01}, 5.0),
        ({"kind": "cvar", "alpha": 0.375}, (5.0 + 0.5 * 4.0) / 1.5),
        ({"kind": "cvar", "alpha": 0.6}, (5.0 + 4.0 + 0.4 * 2.0) / 2.4),
        (
            {"kind": "entropic", "beta": 0.5},
            2.0 * math.log((math.exp(0.5) + math.exp(2.5) + math.exp(1.0) + math.exp(2.0)) / 4.0),
        ),
        ({"kind": "entropic", "beta": 1e-3}, 3.0),
        ({"kind": "entropic", "beta": 1e3}, 5.0 - math.log(4.0) / 1e3),
        ({"kind": "adversarial", "weight": 0.0}, 5.0),
        ({"kind": "adversarial", "weight": 0.5}, 4.0),  # 1, 5 - 1, 2 - 0.25, 4 - 2.25
        ({"kind": "adversarial", "weight": 2.0}, 1.0),  # 1, 5 - 4, 2 - 1, 4 - 9
        ({"kind": "optimistic", "weight": 0.0}, 1.0),
        ({"kind": "optimistic", "weight": 1.0}, 1.0),
    ],
)
def test_risk_measures_by_hand(risk: Any, expected: float) -> None:
    measure = RISK.validate_python(risk)
    reduced = measure(COSTS.expand(2, 3, 4), NOISE)
    assert reduced.shape == (2, 3)
    torch.testing.assert_close(reduced, torch.full((2, 3), expected), rtol=1e-3, atol=1e-3)


def test_optimistic_adds_the_surprise_to_the_cost() -> None:
    costs = torch.tensor([5.0, 1.0, 4.8, -3.0])  # + weight * (0, 2, 0.5, 4.5)
    for weight, expected in ((0.0, -3.0), (1.0, 1.5), (1.8, 4.6), (5.0, 5.0)):
        measure = RISK.validate_python({"kind": "optimistic", "weight": weight})
        assert measure(costs, NOISE).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", RISKS)
def test_the_risk_of_one_sample_is_its_cost(kind: str) -> None:
    noise = torch.zeros(1, 3, 0)  # no latent at all
    torch.testing.assert_close(RISK.validate_python(kind)(COSTS[:, None], noise), COSTS)


@pytest.mark.parametrize("kind", RISKS)
def test_infinite_costs_do_not_give_nan(kind: str) -> None:
    measure = RISK.validate_python(kind)
    some = measure(torch.tensor([1.0, math.inf, math.inf, 2.0]), NOISE)
    assert some == (1.0 if kind in ("best", "optimistic") else math.inf)
    assert measure(torch.full((4,), math.inf), NOISE) == math.inf


def test_risk_configs() -> None:
    assert RISK.validate_python("cvar") == RISK.validate_python({"kind": "cvar", "alpha": 0.2})
    measure = RISK.validate_python({"kind": "cvar", "alpha": 0.3})
    assert RISK.validate_python(measure.model_dump()) == measure
    for wrong in (
        {"kind": "cvar", "alpha": 0.0},
        {"kind": "cvar", "alpha": 1.1},
        {"kind": "cvar", "beta": 1.0},
        {"kind": "entropic", "beta": 0.0},
        {"kind": "entropic", "beta": math.nan},
        {"kind": "adversarial", "weight": -1.0},
    ):
        with pytest.raises(ValidationError):
            RISK.validate_python(wrong)
    with pytest.raises(ValueError, match=r"unknown risk measure 'cvr'. Did you mean 'cvar'"):
        RISK.validate_python("cvr")


def gamble(actions: Tensor, noise: Tensor) -> Tensor:
    """Two actions: forward costs 3 if z > 0.5, else -1; backward always costs 1.

    z > 0.5 has probability 0.31, so forward costs about 0.23 on average.
    """
    forward = actions[:, :, 0, :1] > 0.0
    random = torch.where(noise[:, 0, 0] > 0.5, 3.0, -1.0)
    return torch.where(forward, random, torch.ones_like(random))


# 1000 samples; f is the fraction of them in which forward costs 3.
GAMBLE: list[tuple[Any, bool]] = [
    ("mean", True),  # -1 + 4 f = 0.23
    ("best", True),
    ({"kind": "cvar", "alpha": 0.95}, True),  # (3 f - (0.95 - f)) / 0.95 = 0.3
    ({"kind": "cvar", "alpha": 0.2}, False),
    ("worst", False),
    ({"kind": "entropic", "beta": 0.01}, True),
    ({"kind": "entropic", "beta": 5.0}, False),
    # z = 0.5 has a surprise of 0.125: the highest cost of forward is 3 - 0.125 w, or -1.
    ({"kind": "adversarial", "weight": 1.0}, False),
    ({"kind": "adversarial", "weight": 20.0}, True),  # 3 - 2.5 = 0.5
    ({"kind": "optimistic", "weight": 1.0}, True),
]


@pytest.mark.parametrize(("risk", "gambles"), GAMBLE)
def test_risk_decides_on_a_gamble(risk: Any, gambles: bool) -> None:
    config = TypeAdapter(PlannerConfigUnion).validate_python(
        {"kind": "cem", "choose": "best", "latent_samples": 1000, "risk": risk, "horizon": 1}
    )
    planner = make_planner(config, Box(1))
    noise = planner.draw_noise(4, 1, torch.Generator().manual_seed(0))
    plan, _ = planner.plan(gamble, planner.initial_state(4), noise)
    assert ((plan.action > 0.0) == gambles).all()
    z = noise.latent[:, 0, 0]
    f = (z > 0.5).double().mean().item()
    assert 0.28 < f < 0.34
    closed_form = {
        "mean": -1.0 + 4.0 * f,
        "best": -1.0,
        "entropic": math.log(1.0 - f + f * math.exp(0.04)) / 0.01 - 1.0,
        "cvar": (3.0 * f - (0.95 - f)) / 0.95,
        "adversarial": 3.0 - 20.0 * 0.5 * z[z > 0.5].min().item() ** 2,
        "optimistic": -1.0 + 0.5 * z.square().min().item(),
    }
    # Backward costs 1 under every sample, and the least surprise of a sample is almost 0.
    expected = closed_form[config.risk.kind] if gambles else 1.0
    assert plan.cost.tolist() == pytest.approx([expected] * 4, rel=1e-3, abs=1e-3)
    assert plan.spread.tolist() == pytest.approx(
        [4.0 * math.sqrt(f * (1.0 - f)) if gambles else 0.0] * 4, abs=1e-4
    )


def test_latent_noise_is_stratified_at_every_step() -> None:
    """Else a search would find the step at which, by chance, no sample is bad."""
    planner = make_planner(
        TypeAdapter(PlannerConfigUnion).validate_python(
            {"kind": "mppi", "latent_samples": 10, "horizon": 300}
        ),
        Box(1),
    )
    noise = planner.draw_noise(1, 2, rng()).latent
    assert noise.shape == (10, 300, 2)
    tenths = torch.special.ndtr(noise.double()).mul(10).floor().long()
    expected = torch.arange(10)[:, None, None].expand_as(tenths)
    torch.testing.assert_close(tenths.sort(0).values, expected)
    assert noise.mean() == pytest.approx(0.0, abs=0.01)
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    # Independent from step to step and of the other entry, and different futures.
    related = torch.corrcoef(
        torch.stack([noise[:, 1:, 0], noise[:, :-1, 0], noise[:, 1:, 1]]).flatten(1)
    )
    assert (related - torch.eye(3)).abs().max() < 0.08
    torch.testing.assert_close(noise, planner.draw_noise(1, 2, rng()).latent)
    assert not noise.equal(planner.draw_noise(1, 2, rng(1)).latent)


@pytest.mark.parametrize("drawn", [0.0, 1 - 2**-24])
def test_stratified_noise_is_finite_at_both_ends(
    drawn: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest float below 1 is rounded to the end of the last of a thousand strata."""
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, drawn))
    assert stratified((1000, 2, 1)).isfinite().all()
