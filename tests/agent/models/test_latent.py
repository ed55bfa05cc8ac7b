"""The latent variable: each kind against torch.distributions, and as a function of noise."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, OneHotCategorical, kl_divergence

from tests.helpers.small_models import rng
from worldplan.agent.models.latent import (
    Categorical,
    CategoricalLatentConfig,
    Gaussian,
    GaussianLatentConfig,
    LatentConfig,
    LatentDistribution,
    NoLatent,
    NoLatentConfig,
)

Config = NoLatentConfig | GaussianLatentConfig | CategoricalLatentConfig
CONFIG: TypeAdapter[Config] = TypeAdapter(LatentConfig)
LEAD = (2, 3)


def pair(kind: str, seed: int = 0) -> tuple[LatentDistribution, Distribution]:
    """One of our distributions, and the same of PyTorch."""
    if kind == "gaussian":
        mean, raw = torch.randn(2, *LEAD, 4, generator=rng(seed)).unbind()
        std = raw.exp()
        return Gaussian(mean, std), Independent(Normal(mean, std), 1)
    logits = 2 * torch.randn(*LEAD, 3, 4, generator=rng(seed))
    return Categorical(logits), Independent(OneHotCategorical(logits=logits), 1)


def value(kind: str, theirs: Distribution, z: Tensor) -> Tensor:
    """z in the shape that PyTorch expects: its categorical is not flat."""
    return z if kind == "gaussian" else z.reshape(*z.shape[:-1], *theirs.event_shape)


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_log_prob_and_kl_equal_those_of_torch(kind: str) -> None:
    ours, theirs = pair(kind)
    other, their_other = pair(kind, seed=1)
    width = 4 if kind == "gaussian" else 3
    z = ours.sample(torch.randn(*LEAD, width, generator=rng(2)))
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(value(kind, theirs, z)))
    torch.testing.assert_close(other.log_prob(z), their_other.log_prob(value(kind, their_other, z)))
    torch.testing.assert_close(ours.kl(other), kl_divergence(theirs, their_other))
    torch.testing.assert_close(other.kl(ours), kl_divergence(their_other, theirs))
    torch.testing.assert_close(ours.kl(ours), torch.zeros(LEAD), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_no_z_is_more_likely_than_the_mode(kind: str) -> None:
    ours, theirs = pair(kind)
    torch.testing.assert_close(value(kind, theirs, ours.mode()), theirs.mode)
    width = 4 if kind == "gaussian" else 3
    z = ours.sample(torch.randn(500, *LEAD, width, generator=rng()))
    assert (ours.log_prob(z) <= ours.log_prob(ours.mode()) + 1e-6).all()


@pytest.mark.parametrize(
    "config",
    [
        NoLatentConfig(),
        GaussianLatentConfig(dim=5),
        CategoricalLatentConfig(groups=3, classes=4),
        CategoricalLatentConfig(groups=1, classes=2),
    ],
)
def test_samples_have_the_entropy_of_the_distribution(config: Config) -> None:
    """The mean of -log p over samples is the entropy."""
    ours = config.distribution(torch.randn(config.parameters, generator=rng()))
    count = 20_000
    noise = torch.randn(count, config.noise, generator=rng(1))
    theirs: Any = None
    if isinstance(ours, Gaussian):
        theirs = Normal(ours.mean, ours.std)
    elif isinstance(ours, Categorical):
        theirs = OneHotCategorical(logits=ours.logits)
    entropy = theirs.entropy().sum() if theirs else torch.tensor(0.0)
    z = ours.sample(noise)
    assert z.shape == (count, config.width)
    assert ours.log_prob(z).shape == (count,)
    torch.testing.assert_close(-ours.log_prob(z).mean(), entropy, atol=0.04, rtol=0)
    assert torch.equal(z, ours.sample(noise))


def test_gaussian_sample_is_scaled_and_shifted_noise() -> None:
    mean = torch.tensor([1.0, -2.0], requires_grad=True)
    std = torch.tensor([0.5, 3.0], requires_grad=True)
    noise = torch.tensor([2.0, -1.0])
    z = Gaussian(mean, std).sample(noise)
    assert z.tolist() == [2.0, -5.0]
    by_mean, by_std = torch.autograd.grad(z.sum(), [mean, std])
    assert by_mean.tolist() == [1.0, 1.0]
    assert by_std.tolist() == noise.tolist()


def test_categorical_samples_have_the_right_frequencies() -> None:
    probs = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.0, 0.5]])
    noise = torch.randn(40_000, 2, generator=rng())
    z = Categorical(probs.log().expand(40_000, 2, 3)).sample(noise).view(-1, 2, 3)
    # Three standard deviations of the frequency are below 0.0075.
    torch.testing.assert_close(z.mean(0), probs, atol=0.0075, rtol=0)
    assert not z[:, 1, 1].any()
    # Groups are drawn independently of each other.
    joint = torch.einsum("ni,nj->ij", z[:, 0], z[:, 1]) / len(z)
    torch.testing.assert_close(joint, torch.outer(*probs), atol=0.0075, rtol=0)


def every_value(groups: int, classes: int) -> Tensor:
    """All values (number, Z) of a categorical z."""
    index = torch.cartesian_prod(*[torch.arange(classes)] * groups).reshape(-1, groups)
    return F.one_hot(index, classes).flatten(-2).float()


def test_categorical_sample_is_exactly_one_hot_even_for_extreme_noise() -> None:
    logits = torch.randn(6, 3, 5, generator=rng(), requires_grad=True)
    rows = {tuple(row) for row in every_value(3, 5).tolist()}
    for noise in (-40.0, -9.0, 0.3, 9.0, 40.0):
        z = Categorical(logits).sample(torch.full((6, 3), noise)).detach()
        assert all(tuple(row) in rows for row in z.tolist())
        if abs(noise) == 40:
            end = 0 if noise < 0 else 4
            assert (z.view(6, 3, 5)[..., end] == 1).all()


def test_the_class_increases_with_the_noise() -> None:
    logits = torch.randn(4, 8, generator=rng()).expand(200, 4, 8)
    noise = torch.linspace(-4, 4, 200)[:, None].expand(200, 4)
    index = Categorical(logits).sample(noise).view(200, 4, 8).argmax(-1)
    assert (index.diff(dim=0) >= 0).all()
    assert (index.amax(0) > index.amin(0)).all()


def test_categorical_gradient_is_unbiased_for_a_quadratic_loss() -> None:
    """The expectation is over all nine values of z. Straight-through alone is biased."""
    logits = torch.randn(2, 3, generator=rng()).double().requires_grad_()
    square, linear = torch.randn(6, 6, generator=rng(1)).double(), torch.randn(6).double()

    def loss(z: Tensor) -> Tensor:
        return ((z @ square) * z).sum(-1) + z @ linear

    z = Categorical(logits)
    probs = logits.detach().softmax(-1)
    middle = torch.special.ndtri(probs.cumsum(-1) - probs / 2)  # noise that gives each class
    estimate = torch.zeros_like(logits)
    for i in range(3):
        for j in range(3):
            drawn = z.sample(torch.stack([middle[0, i], middle[1, j]]))
            assert drawn.view(2, 3).argmax(-1).tolist() == [i, j]
            gradient = torch.autograd.grad(loss(drawn), [logits])[0]
            estimate += probs[0, i] * probs[1, j] * gradient
    values = every_value(2, 3).to(logits)
    expected = (z.log_prob(values).exp() * loss(values)).sum()
    torch.testing.assert_close(estimate, torch.autograd.grad(expected, [logits])[0])


def test_the_gradient_of_the_mode_is_straight_through() -> None:
    logits = torch.randn(5, 2, 3, generator=rng(), requires_grad=True)
    weight = torch.randn(5, 6, generator=rng(1))
    (through,) = torch.autograd.grad((Categorical(logits).mode() * weight).sum(), [logits])
    (soft,) = torch.autograd.grad((logits.softmax(-1).flatten(-2) * weight).sum(), [logits])
    assert soft.abs().max() > 0.01
    torch.testing.assert_close(through, soft)


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_detached_distributions_are_equal_and_have_no_gradient(kind: str) -> None:
    ours, _ = pair(kind)
    fields = [u.requires_grad_() for u in vars(ours).values()]
    closed = ours.detach()
    assert not any(u.requires_grad for u in vars(closed).values())
    assert not closed.kl(closed).requires_grad
    assert ours.kl(closed).requires_grad
    assert all(torch.equal(u, v) for u, v in zip(fields, vars(closed).values(), strict=True))


@pytest.mark.parametrize(("groups", "classes"), [(1, 2), (1, 5), (3, 2), (2, 4)])
def test_the_probabilities_of_all_values_sum_to_one(groups: int, classes: int) -> None:
    z = Categorical(torch.randn(groups, classes, generator=rng()))
    values = every_value(groups, classes)
    assert values.shape == (classes**groups, groups * classes)
    assert len(torch.unique(values, dim=0)) == classes**groups
    assert (values.view(-1, groups, classes).sum(-1) == 1).all()
    torch.testing.assert_close(z.log_prob(values).exp().sum(), torch.tensor(1.0))


def test_no_latent_has_size_zero_and_probability_one() -> None:
    z = NoLatent(torch.zeros(*LEAD, 0))
    assert z.sample(torch.randn(*LEAD, 0)).shape == (*LEAD, 0)
    assert z.mode().shape == (*LEAD, 0)
    assert torch.equal(z.log_prob(z.mode()), torch.zeros(LEAD))
    assert torch.equal(z.kl(z), torch.zeros(LEAD))
    assert z.detach().mode().shape == (*LEAD, 0)


def test_the_kl_of_different_kinds_is_refused() -> None:
    gaussian = Gaussian(torch.zeros(2), torch.ones(2))
    categorical = Categorical(torch.zeros(1, 2))
    for one, other in ((gaussian, categorical), (categorical, gaussian)):
        with pytest.raises(AssertionError, match="one kind"):
            one.kl(other)


def test_gaussian_config_starts_near_the_standard_normal_and_has_a_least_std() -> None:
    config = GaussianLatentConfig(dim=2, min_std=0.25)
    assert (config.width, config.noise, config.parameters) == (2, 2, 4)
    z = config.distribution(torch.tensor([[0.0, 3.0, 0.0, -100.0]]))
    assert isinstance(z, Gaussian)
    assert z.mean.tolist() == [[0.0, 3.0]]
    start = math.log(1 + math.exp(0.54)) + 0.25
    torch.testing.assert_close(z.std, torch.tensor([[start, 0.25]]))
    assert start - 0.25 == pytest.approx(1, abs=0.001)


def test_categorical_config_mixes_in_the_uniform_distribution() -> None:
    config = CategoricalLatentConfig(groups=2, classes=4, uniform=0.2)
    assert (config.width, config.noise, config.parameters) == (8, 2, 8)
    z = config.distribution(torch.tensor([[100.0, 0, 0, 0, 1, 1, 1, 1]]))
    assert isinstance(z, Categorical)
    expected = [[[0.85, 0.05, 0.05, 0.05], [0.25] * 4]]
    torch.testing.assert_close(z.log_probs.exp(), torch.tensor(expected))
    # The KL is finite however different the logits are.
    far = config.distribution(torch.tensor([[-1e4, 1e4, 0, 0, 1, 1, 1, 1]]))
    assert 0 < float(z.kl(far)) < math.log(1 / 0.05)


def test_no_latent_config_has_size_zero() -> None:
    config = NoLatentConfig()
    assert (config.width, config.noise, config.parameters) == (0, 0, 0)
    assert isinstance(config.distribution(torch.zeros(*LEAD, 0)), NoLatent)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kind": "none"}, NoLatentConfig()),
        ({"kind": "gaussian", "dim": 3}, GaussianLatentConfig(dim=3)),
        ({"kind": "categorical", "groups": 2}, CategoricalLatentConfig(groups=2)),
    ],
)
def test_kind_chooses_the_config(given: dict[str, Any], expected: Config) -> None:
    assert CONFIG.validate_python(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "laplace"},
        {"kind": "gaussian", "classes": 3},
        {"kind": "gaussian", "dim": 0},
        {"kind": "gaussian", "min_std": 0},
        {"kind": "categorical", "classes": 1},
        {"kind": "categorical", "uniform": 1},
        {"kind": "none", "free_bits": -1},
        {"kind": "none", "prior_share": 1.5},
        {"kind": "none", "kl_weight": -0.1},
    ],
)
def test_settings_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CONFIG.validate_python(given)
