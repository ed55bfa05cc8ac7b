"""Losses, each against values computed by hand or a closed form."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.helpers.small_models import rng
from worldplan.agent.models import losses
from worldplan.agent.models.latent import Categorical, Gaussian, NoLatent


def column(*numbers: float) -> Tensor:
    """A window (T, 1)."""
    return torch.tensor(numbers).unsqueeze(-1)


ALL = torch.ones(3, 1, dtype=torch.bool)
NEVER = torch.zeros(3, 1)


def test_step_weights_decay_sum_to_one_and_are_zero_where_not_valid() -> None:
    valid = torch.tensor([[True, True], [True, False], [True, False]])
    weights = losses.step_weights(valid, 0.5)
    torch.testing.assert_close(weights, torch.tensor([[4, 4], [2, 0], [1, 0]]) / 7)
    torch.testing.assert_close(losses.step_weights(ALL, 1.0), torch.full((3, 1), 1 / 3))


def test_weighted_sums_steps_and_averages_sequences() -> None:
    loss = torch.tensor([[1.0, 2.0], [3.0, 100.0]])
    weights = torch.tensor([[0.75, 0.75], [0.25, 0.0]])
    assert float(losses.weighted(loss, weights)) == pytest.approx((1.5 + 1.5) / 2)


def test_consistency_is_the_mean_square_over_dimensions() -> None:
    predicted, target = torch.zeros(2, 1, 4), torch.tensor([[[1.0, 2, 3, 4]], [[0.0, 0, 2, 0]]])
    torch.testing.assert_close(losses.consistency(predicted, target), column(7.5, 1.0))


def test_infonce_is_the_surprise_at_which_of_the_batch_came() -> None:
    h = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 9.0]], requires_grad=True)
    predicted = torch.tensor([[1.0, 0.0], [2.0, 0.0], [5.0, 5.0]])
    # Mean squares to the first two: 0.5 and 0.5; 2 and 0. The third takes no part.
    valid = torch.tensor([True, True, False])
    loss = losses.infonce(predicted, h, valid, temperature=0.5)
    wanted = (math.log(2) + math.log(1 + math.exp(-4))) / 2
    assert float(loss.detach()) == pytest.approx(wanted)
    loss.backward()  # type: ignore[no-untyped-call]
    assert h.grad is not None
    assert h.grad.isfinite().all()
    assert (h.grad[2] == 0).all()


def test_infonce_of_embeddings_that_are_all_alike_is_the_logarithm_of_their_number() -> None:
    loss = losses.infonce(torch.ones(8, 4), torch.ones(8, 4), torch.ones(8, dtype=torch.bool), 0.25)
    assert float(loss) == pytest.approx(math.log(8))


def test_kl_gradients_are_balanced_between_prior_and_posterior() -> None:
    q_mean = torch.tensor([1.0], requires_grad=True)
    p_mean = torch.tensor([0.0], requires_grad=True)
    one = torch.ones(1)
    posterior, prior = Gaussian(q_mean, one), Gaussian(p_mean, one)
    loss, kl = losses.latent_kl(posterior, prior, free_bits=0.1, prior_share=0.75)
    assert float(loss.detach()) == pytest.approx(0.5)  # KL(N(1,1) || N(0,1))
    assert float(kl) == pytest.approx(0.5)
    assert not kl.requires_grad
    by_q, by_p = torch.autograd.grad(loss, [q_mean, p_mean])
    assert float(by_q) == pytest.approx(0.25)  # a quarter of the gradient 1
    assert float(by_p) == pytest.approx(-0.75)


def test_kl_below_the_free_bits_has_no_gradient() -> None:
    q_mean = torch.tensor([[0.1], [1.0]], requires_grad=True)
    p_mean = torch.zeros(2, 1, requires_grad=True)
    one = torch.ones(2, 1)
    pair = Gaussian(q_mean, one), Gaussian(p_mean, one)
    loss, kl = losses.latent_kl(*pair, free_bits=0.2, prior_share=0.75)
    torch.testing.assert_close(kl, torch.tensor([0.005, 0.5]))
    torch.testing.assert_close(loss, torch.tensor([0.2, 0.5]))
    by_q, by_p = torch.autograd.grad(loss.sum(), [q_mean, p_mean])
    assert by_q[0] == by_p[0] == 0
    assert by_q[1] > 0 > by_p[1]


def test_kl_of_the_other_kinds() -> None:
    q = Categorical(torch.tensor([[0.5, 0.5], [1.0, 1e-9]]).log())
    p = Categorical(torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log())
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3) + math.log(2)
    loss, kl = losses.latent_kl(q, p, free_bits=0.0, prior_share=0.3)
    assert float(kl) == pytest.approx(expected, abs=1e-5)
    assert float(loss) == pytest.approx(expected, abs=1e-5)
    nothing = NoLatent(torch.zeros(3, 0))
    assert losses.latent_kl(nothing, nothing, 0.0, 0.5)[1].tolist() == [0, 0, 0]


def test_variance_hinge_by_hand() -> None:
    # Columns of standard deviation 2, 0.5 and 0; only those below 1 have a loss.
    unit = torch.tensor([1.0, -1, 1, -1]) * math.sqrt(3) / 2
    h = torch.stack([2 * unit, 0.5 * unit, torch.full((4,), 7.0)], 1)
    expected = (0 + (1 - math.sqrt(0.25 + 1e-4)) + (1 - 0.01)) / 3
    assert float(losses.variance(h)) == pytest.approx(expected, abs=1e-5)
    assert float(losses.variance(4 * h[:, :2])) == 0
    assert float(losses.variance(h[:, :1], target=3.0)) == pytest.approx(1, abs=1e-4)


def test_covariance_by_hand() -> None:
    x = torch.tensor([1.0, -1, 1, -1])
    y = torch.tensor([1.0, 1, -1, -1])
    # cov(x, x) = 4/3; two off-diagonal entries of 8/3, over two dimensions.
    h = torch.stack([x, 2 * x], 1) + 5
    assert float(losses.covariance(h)) == pytest.approx(2 * (8 / 3) ** 2 / 2)
    assert float(losses.covariance(torch.stack([x, 3 * y], 1))) == pytest.approx(0, abs=1e-10)
    h = torch.randn(50, 6, generator=rng())
    c = torch.cov(h.T)
    expected = (c - c.diag().diag()).square().sum() / 6
    torch.testing.assert_close(losses.covariance(h), expected)


def gaussian_distance(scale: float) -> float:
    """Distance of N(0, scale^2) to N(0, 1), in closed form.

    It is the integral of (f(t) - g(t))^2 g(t) / sqrt(2 pi), with characteristic functions f and g.
    """
    between = 2 / math.sqrt(scale**2 + 2)
    return 1 / math.sqrt(2 * scale**2 + 1) - between + 1 / math.sqrt(3)


def test_sigreg_of_a_collapsed_embedding_is_the_closed_form() -> None:
    directions = torch.randn(8, 32, generator=rng())
    value = losses.sigreg(torch.zeros(10, 8), directions)
    assert float(value) == pytest.approx(gaussian_distance(0), abs=1e-4)
    assert float(losses.sigreg(torch.zeros(10, 8), 100 * directions)) == pytest.approx(float(value))


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_sigreg_of_gaussians_is_the_closed_form(scale: float) -> None:
    h, directions = torch.randn(5000, 8, generator=rng()), torch.randn(8, 16, generator=rng(1))
    # The usual knots are too coarse for the peak of a wide distribution: 10% off at 3.
    value = float(losses.sigreg(scale * h, directions, knots=81))
    assert value == pytest.approx(gaussian_distance(scale), abs=0.003)
    assert (value < 3e-4) == (scale == 1)
    assert float(losses.sigreg(scale * h, directions)) == pytest.approx(value, rel=0.12, abs=1e-4)


@pytest.mark.parametrize("flaw", ["line", "shift", "two points", "one dimension dead"])
def test_sigreg_detects_what_is_not_an_isotropic_gaussian(flaw: str) -> None:
    h, directions = torch.randn(4000, 8, generator=rng()), torch.randn(8, 64, generator=rng(1))
    good = losses.sigreg(h, directions)
    bad = {
        "line": h[:, :1].expand(-1, 8),
        "shift": h + 0.5,
        "two points": h.sign()[:, :1] * torch.eye(8)[:1],
        "one dimension dead": h * (torch.arange(8) > 0),
    }[flaw]
    assert losses.sigreg(bad, directions) > 10 * good


def test_sigreg_pushes_a_collapsed_embedding_apart() -> None:
    h = (1e-2 * torch.randn(256, 4, generator=rng())).requires_grad_()
    optimizer = torch.optim.Adam([h], lr=0.1)
    for step in range(80):
        loss = losses.sigreg(h, torch.randn(4, 16, generator=rng(step)))
        h.grad = torch.autograd.grad(loss, [h])[0]
        optimizer.step()
    torch.testing.assert_close(torch.cov(h.detach().T), torch.eye(4), atol=0.25, rtol=0)


def test_losses_do_not_change_their_arguments() -> None:
    h = torch.randn(16, 4, generator=rng())
    before = h.clone()
    losses.variance(h), losses.covariance(h), losses.sigreg(h, h.T @ F.normalize(h))
    assert torch.equal(h, before)
