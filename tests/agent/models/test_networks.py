"""Building blocks, against values computed by hand, NumPy and plain PyTorch."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from tests.helpers.small_models import rng
from worldplan.agent.models.networks import (
    MLP,
    EnsembleMLP,
    Normaliser,
    SimNorm,
    TwoHot,
    frozen,
    symexp,
    symlog,
)
from worldplan.planners.actions import squash


def stir(module: nn.Module) -> None:
    """Adds noise to all parameters, so that none is zero."""
    generator = rng(9)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))


def test_symlog_by_hand_and_its_inverse() -> None:
    x = torch.tensor([0.0, math.e - 1, 1 - math.e, math.e**3 - 1])
    torch.testing.assert_close(symlog(x), torch.tensor([0.0, 1.0, -1.0, 3.0]))
    y = torch.tensor([-1e6, -3.0, -1e-6, 0.0, 0.5, 1e4])
    torch.testing.assert_close(symexp(symlog(y)), y, rtol=1e-4, atol=0)


def test_two_hot_code_by_hand() -> None:
    code = TwoHot(bins=5, limit=2.0)  # bins at symlog -2, -1, 0, 1, 2
    value = symexp(torch.tensor([0.0, 0.25, -1.5, 2.0]))
    expected = [[0, 0, 1, 0, 0], [0, 0, 0.75, 0.25, 0], [0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 1]]
    torch.testing.assert_close(code.encode(value), torch.tensor(expected, dtype=torch.float32))
    half = torch.tensor([-math.inf, -math.inf, 1.0, 1.0, -math.inf])
    torch.testing.assert_close(code.decode(half), torch.tensor(math.exp(0.5) - 1))


def test_two_hot_code_clips_values_beyond_its_limit() -> None:
    code = TwoHot(bins=5, limit=2.0)
    far = torch.tensor([-1e9, -8.0, 8.0, 1e9])
    expected = torch.tensor([[1, 0, 0, 0, 0]] * 2 + [[0, 0, 0, 0, 1]] * 2, dtype=torch.float32)
    torch.testing.assert_close(code.encode(far), expected)


@pytest.mark.parametrize(("bins", "limit"), [(21, 3.0), (65, 10.0), (101, 10.0)])
def test_two_hot_round_trip(bins: int, limit: float) -> None:
    code = TwoHot(bins, limit)
    value = symexp(torch.linspace(-limit, limit, 333)).reshape(3, 111)
    probs = code.encode(value)
    assert probs.shape == (3, 111, bins)
    torch.testing.assert_close(probs.sum(-1), torch.ones(3, 111))
    assert ((probs > 1e-5).sum(-1) <= 2).all()
    torch.testing.assert_close(code.decode(probs.log()), value, rtol=1e-4, atol=1e-4)


def test_two_hot_loss_is_the_cross_entropy() -> None:
    code = TwoHot(bins=11, limit=2.0)
    logits, value = torch.randn(4, 11, generator=rng()), torch.randn(4, generator=rng(1))
    expected = F.cross_entropy(logits, code.encode(value), reduction="none")
    torch.testing.assert_close(code.loss(logits, value), expected)


def test_simnorm_makes_simplices() -> None:
    x = 3 * torch.randn(2, 5, 24, generator=rng())
    y = SimNorm(8)(x)
    assert y.shape == x.shape
    assert (y > 0).all()
    # Three simplices of eight classes: those of one simplex are three apart.
    for j in range(3):
        torch.testing.assert_close(y[..., j::3], x[..., j::3].softmax(-1))
    torch.testing.assert_close(y.sum(-1), torch.full((2, 5), 3.0))


def test_mlp_is_layers_of_linear_norm_and_silu_and_a_linear_layer() -> None:
    mlp = MLP(3, 2, 7, 2)
    stir(mlp)
    x = torch.randn(4, 5, 3, generator=rng())
    y = x
    linear = [m for m in mlp if isinstance(m, nn.Linear)]
    norms = [m for m in mlp if isinstance(m, nn.LayerNorm)]
    assert [tuple(m.weight.shape) for m in linear] == [(7, 3), (7, 7), (2, 7)]
    for layer, norm in zip(linear, norms, strict=False):
        y = F.silu(F.layer_norm(layer(y), (7,), norm.weight, norm.bias))
    torch.testing.assert_close(mlp(x), linear[-1](y))
    assert not MLP(3, 2, 7, 2, zero_output=True)(x).any()


def test_ensemble_equals_its_members_one_by_one() -> None:
    net = EnsembleMLP(members=3, inputs=4, outputs=2, width=6, layers=2)
    x = torch.randn(2, 5, 4, generator=rng())
    assert not net(x).any()  # starts at zero
    stir(net)
    together = net(x)
    assert together.shape == (3, 2, 5, 2)
    for e in range(3):
        y = x
        for k in range(2):
            y = F.linear(y, net.weights[k][e].T, net.biases[k][e, 0])
            y = F.silu(F.layer_norm(y, (6,), net.scales[k][e, 0], net.shifts[k][e, 0]))
        y = F.linear(y, net.weights[2][e].T, net.biases[2][e, 0])
        torch.testing.assert_close(together[e], y)
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize("members", [[0] * 70, [2] * 40 + [0] * 33, [0, 1, 2] * 23, [1]])
def test_of_one_equals_evaluating_all_members_and_selecting(members: list[int]) -> None:
    """Members with no rows, with fewer rows than a block, and with more."""
    ensemble = EnsembleMLP(3, 4, 2, width=8, layers=2)
    stir(ensemble)
    x = torch.randn(len(members), 4, generator=rng(), requires_grad=True)
    chosen = torch.tensor(members)
    one = ensemble.of_one(x, F.one_hot(chosen, 3), block=16)
    all_of_them = ensemble(x)[chosen, torch.arange(len(members))]
    torch.testing.assert_close(one, all_of_them)
    gradients = [
        torch.autograd.grad(y.square().sum(), [x, *ensemble.parameters()])
        for y in (one, all_of_them)
    ]
    for gradient, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-4)
    lead = ensemble.of_one(x.view(-1, 1, 4), F.one_hot(chosen, 3).view(-1, 1, 3))
    torch.testing.assert_close(lead, one.unsqueeze(1))


def test_a_frozen_function_has_gradients_for_its_input_only() -> None:
    net = EnsembleMLP(members=2, inputs=4, outputs=1, width=6, layers=2)
    stir(net)
    x = torch.randn(5, 4, generator=rng(), requires_grad=True)
    run = frozen(EnsembleMLP.forward, net)
    torch.testing.assert_close(run(x), net(x))
    parameters = list(net.parameters())
    free = torch.autograd.grad(net(x).sum(), [x, *parameters])
    assert all(g.abs().max() > 0 for g in free)
    found = torch.autograd.grad(run(x).sum(), [x, *parameters], allow_unused=True)
    torch.testing.assert_close(found[0], free[0])
    assert all(g is None for g in found[1:])


def pieces() -> tuple[Normaliser, Tensor]:
    """A normaliser that was updated with pieces of a batch, and the batch."""
    scale, shift = torch.tensor([3.0, 0.01, 200.0]), torch.tensor([-5.0, 0.0, 1e4])
    x = torch.randn(300, 3, generator=rng()) * scale + shift
    normaliser = Normaliser(3)
    for piece in torch.split(x, [1, 7, 100, 1, 191]):
        normaliser.update(piece)
    return normaliser, x


def test_normaliser_has_the_mean_and_standard_deviation_of_all_observations() -> None:
    normaliser, x = pieces()
    exact = x.double().numpy()
    np.testing.assert_allclose(normaliser.shift.numpy(), exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(normaliser.scale.numpy(), exact.std(0), rtol=1e-6)
    y = normaliser(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(y.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normaliser.inverse(y), x)


def test_the_state_of_the_normaliser_is_in_its_state_dict() -> None:
    normaliser, x = pieces()
    other = Normaliser(3)
    assert torch.equal(other(x), x.clamp(-10, 10))  # without observations it only clips
    other.load_state_dict(normaliser.state_dict())
    assert torch.equal(other(x), normaliser(x))
    for n in (normaliser, other):
        n.update(x[:50])
    assert torch.equal(other(x), normaliser(x))


def test_normaliser_clips_and_does_not_scale_constant_dimensions() -> None:
    normaliser = Normaliser(2, clip=5.0)
    normaliser.update(torch.tensor([[1.0, 7.0]]))
    assert torch.equal(normaliser.scale, torch.ones(2))  # one observation has no variance
    normaliser.update(torch.tensor([[3.0, 7.0]]))
    assert normaliser(torch.tensor([[2.5, 7.5]])).tolist() == [[0.5, 0.5]]
    assert normaliser(torch.tensor([[1e3, -1e3]])).tolist() == [[5.0, -5.0]]


def test_squash_is_the_tanh_of_a_gaussian() -> None:
    mean, log_std, noise = torch.randn(3, 4, 5, 2, generator=rng()).unbind()
    action, log_prob = squash(mean, log_std, noise)
    u = mean + log_std.exp() * noise
    torch.testing.assert_close(action, u.tanh())
    theirs: Any = TransformedDistribution(
        Normal(mean, log_std.exp()), [TanhTransform(cache_size=1)]
    )
    x = theirs.transforms[0](u)  # cached: the inverse is exact
    torch.testing.assert_close(log_prob, theirs.log_prob(x).sum(-1), rtol=1e-4, atol=1e-4)
    assert log_prob.shape == (4, 5)


def test_squash_is_finite_for_large_means() -> None:
    mean = torch.tensor([[-50.0], [50.0]], requires_grad=True)
    action, log_prob = squash(mean, torch.full((2, 1), -1.0), torch.zeros(2, 1))
    assert action.abs().tolist() == [[1.0], [1.0]]
    # log(1 - tanh(u)^2) = log 4 - 2|u| for large |u|.
    expected = 1 - 0.5 * math.log(2 * math.pi) - (math.log(4) - 100)
    torch.testing.assert_close(log_prob, torch.full((2,), expected))
    (gradient,) = torch.autograd.grad(log_prob.sum(), [mean])
    torch.testing.assert_close(gradient, torch.tensor([[-2.0], [2.0]]))
