"""Probes decode what the features contain, and nothing else."""

import pytest
import torch
from torch import Tensor, nn

from worldplan.agent.evaluation import probe
from worldplan.agent.evaluation.probe import fit_probe


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def known(count: int = 2000) -> tuple[Tensor, Tensor]:
    """Features, and targets in units of their own: a curve, a product and a constant.

    The three features are mixtures of two variables.
    """
    u = noise(count, 2)
    curve = 100 + 20 * torch.sin(2 * u[:, 0])
    product = 0.01 * u[:, 0] * u[:, 1]
    return u @ noise(2, 3, seed=1), torch.stack([curve, product, torch.full((count,), 7.0)], -1)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short fits."""
    monkeypatch.setattr(probe, "_UPDATES", 200)


def test_a_known_map_is_recovered() -> None:
    x, y = known()
    probe = fit_probe(x, y)
    assert probe.r2 > 0.98
    read = probe(x.view(20, 100, 3))
    assert read.shape == (20, 100, 3)
    errors = (read - y.view(20, 100, 3)).square().mean((0, 1)).sqrt()
    spread = y.std(0)
    assert (errors[:2] < 0.15 * spread[:2]).all()
    torch.testing.assert_close(read[..., 2], torch.full((20, 100), 7.0), atol=0.05, rtol=0)


def test_noise_explains_nothing() -> None:
    assert abs(fit_probe(noise(1000, 8), noise(1000, 3, seed=1)).r2) < 0.05


def test_neighbours_in_time_do_not_leak() -> None:
    """Slow targets, and slow features that are unrelated: a random split of rows would leak."""
    x, y = (noise(1000, 4, seed=s).cumsum(0) for s in (0, 1))
    assert fit_probe(x, y).r2 < 0.5


def test_constant_targets_do_not_count() -> None:
    x, y = known()
    assert fit_probe(x, y).r2 == pytest.approx(fit_probe(x, y[:, :2]).r2, abs=0.02)


def test_the_same_seed_gives_the_same_probe(brief: None) -> None:
    x, y = known(400)
    before = torch.get_rng_state()
    first, again, other = fit_probe(x, y), fit_probe(x, y), fit_probe(x, y, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.r2 == again.r2 != other.r2
    assert torch.equal(first(x), again(x))


def test_no_gradient_reaches_the_model(brief: None) -> None:
    x, y = known(400)
    model = nn.Linear(3, 3)
    before = model.weight.clone()
    probe = fit_probe(model(x), y)
    assert torch.equal(model.weight, before)
    assert model.weight.grad is None
    assert not any(p.requires_grad for p in probe.parameters())
    probe(model(x)).sum().backward()  # a cost may be computed through it
    assert model.weight.grad is not None


def test_it_fits_where_gradients_are_off(brief: None) -> None:
    x, y = known(400)
    with torch.no_grad():
        off = fit_probe(x, y)
    assert torch.equal(off(x), fit_probe(x, y)(x))


@pytest.mark.parametrize(
    ("x", "y", "answer"),
    [
        (noise(200, 2), noise(199, 2), r"\(200, 2\) and \(199, 2\)"),
        (noise(200), noise(200, 1), r"\(200,\)"),
        (noise(99, 2), noise(99, 2), "at least 100 rows, got 99"),
        (noise(200, 2), noise(200, 2) / 0, "finite"),
        (noise(200, 2), torch.ones(200, 2), "none of the 2 targets varies"),
    ],
)
def test_bad_input_is_refused(x: Tensor, y: Tensor, answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        fit_probe(x, y)
