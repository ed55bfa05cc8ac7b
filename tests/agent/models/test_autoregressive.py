"""The autoregressive family: a language model of the tokens of observations."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from scipy.stats import chi2
from torch import Tensor

from tests.helpers.models.tokens import learn, make, some
from tests.helpers.small_models import rng
from worldplan.agent.models.autoregressive import AutoregressiveConfig
from worldplan.agent.models.transformer import quantile_interval
from worldplan.agent.models.world_model import imagine

# The language model


@pytest.mark.parametrize("action", [False, True])
@pytest.mark.parametrize("context", [1, 3])
def test_cached_and_full_evaluation_agree(context: int, action: bool) -> None:
    m = make(context=context, action=action)
    tokens = torch.randint(0, 4, (200, context, 3), generator=rng())
    tokens[:50, 0] = 4  # not seen
    actions = torch.randn(200, context, 2 * action, generator=rng(1))
    quantile = torch.rand(200, 3, generator=rng(2))
    following, fraction = m.language.generate(tokens, actions, quantile)
    low, width = quantile_interval(m.language.logits(tokens, actions, following).exp(), following)
    torch.testing.assert_close(low + width * fraction, quantile, rtol=0, atol=1e-5)


def test_a_token_depends_on_the_tokens_before_it_only() -> None:
    m = make(context=2)
    tokens = torch.randint(0, 4, (1, 2, 3), generator=rng())
    following = torch.tensor([[0, 1, 2]])
    plain = m.language.logits(tokens, torch.zeros(1, 2, 0), following)
    for d in range(3):
        other = following.clone()
        other[0, d] = 3
        changed = (m.language.logits(tokens, torch.zeros(1, 2, 0), other) - plain).abs()[0] > 1e-6
        assert changed.any(-1).tolist() == [k > d for k in range(3)]


@torch.no_grad()
def test_sampled_tokens_have_the_probabilities_of_the_model() -> None:
    """Pearson's chi-square over the 16 pairs of tokens of two dimensions."""
    m, draws = make(observation=2), 20_000
    h, s, a, _ = (u.expand(draws, -1) for u in some(m, 1))
    z = m.prior(h, s, a).sample(torch.randn(draws, 2, generator=rng(5)))
    found = m.normaliser.tokens(m.expect(m.predict(h, s, z, a)))
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    tokens, actions = (u[:16] for u in m._window(h, s, a))
    log_p = m.language.logits(tokens, actions, pairs).gather(-1, pairs.unsqueeze(-1)).sum((1, 2))
    expected = draws * log_p.exp()
    assert float(expected.sum()) == pytest.approx(draws, rel=1e-4)
    counts = torch.bincount(found @ torch.tensor([4, 1]), minlength=16)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(0.999, 15)


# z


@pytest.mark.parametrize("context", [1, 3])
def test_the_posterior_covers_exactly_the_z_that_give_the_tokens(context: int) -> None:
    m = make(context=context, action=True)
    h, s, a, h_next = some(m, 300)
    prior, posterior = m.prior(h, s, a), m.posterior(h, s, a, h_next)
    kl = posterior.kl(prior)
    drawn = [posterior.sample(torch.randn(300, 3, generator=rng(k))) for k in range(3)]
    for z in (posterior.mode(), *drawn):
        reached = m.expect(m.predict(h, s, z, a))
        assert torch.equal(m.normaliser.tokens(reached), m.normaliser.tokens(h_next))
        torch.testing.assert_close(posterior.log_prob(z) - prior.log_prob(z), kl)
    # Elsewhere the density of the posterior is 0.
    z = prior.sample(torch.randn(300, 3, generator=rng(7)))
    reached = m.normaliser.tokens(m.expect(m.predict(h, s, z, a)))
    same = (reached == m.normaliser.tokens(h_next)).all(-1)
    assert 0 < same.sum() < 100
    assert torch.equal(posterior.log_prob(z) > -math.inf, same)


def test_filtering_equals_predicting_with_the_posterior() -> None:
    m = make(context=3, action=True)
    h, s, a, h_next = some(m, 100)
    z = m.posterior(h, s, a, h_next).mode()
    filtered = m.filter(h, s, a, h_next, torch.ones(100, dtype=torch.bool))
    torch.testing.assert_close(filtered, m.predict(h, s, z, a), rtol=1e-3, atol=1e-3)


def test_the_loss_is_the_kl_of_the_posterior_from_the_prior() -> None:
    m = make(context=2, action=True)
    x = torch.randn(5, 8, 3, generator=rng())
    a = 2 * torch.rand(4, 8, 2, generator=rng(1)) - 1
    valid = torch.ones(4, 8, dtype=torch.bool)
    valid[0, :3] = False  # the window's first step is of another episode
    valid[3, 5:] = False  # the episode ends before the window does
    h, states = m.encode(x), []
    s, kls = m.initial_state(h[0]), []
    for t in range(4):
        states.append(s)
        posterior = m.posterior(h[t], s, a[t], h[t + 1])
        kls.append(posterior.kl(m.prior(h[t], s, a[t])))
        s = m.filter(h[t], s, a[t], h[t + 1], valid[t])
    by_hand = torch.stack(kls)[1:][valid[1:]].mean()
    found = learn(m, x, a, valid)
    torch.testing.assert_close(found.loss, by_hand)
    torch.testing.assert_close(found.metrics["cross_entropy"], by_hand)
    assert not found.z.requires_grad
    tokens = m.normaliser.tokens(m.expect(m.predict(h[2], states[2], found.z[1], a[2])))
    assert torch.equal(tokens, m.normaliser.tokens(h[3]))  # z gives the observed tokens


# The setting `action`


@pytest.mark.parametrize("context", [1, 3])
def test_without_action_no_output_depends_on_actions(context: int) -> None:
    """Bit for bit. test_contract_agent.py tests the plans of such a model."""
    m = make(context=context)
    assert not m.uses_action
    h, s, a, h_next = some(m, 20)
    z = torch.randn(20, 3, generator=rng(4))
    here = torch.ones(20, dtype=torch.bool)

    def everything(a: Tensor) -> list[Tensor]:
        posterior = m.posterior(h, s, a, h_next)
        future = imagine(m, h, s, torch.stack([a, -a]), torch.stack([z, -z]))
        return [
            *(m.predict(h, s, z, a), m.prior(h, s, a).sample(z), posterior.mode()),
            *(posterior.low, posterior.width, m.filter(h, s, a, h_next, here)),
            *(future.h, future.features, future.z),
        ]

    for once, again in zip(everything(a), everything(a.flip(0)), strict=True):
        assert torch.equal(once, again)
    x = torch.randn(context + 1, 20, 3, generator=rng())
    acts = 2 * torch.rand(2, context, 20, 2, generator=rng(1)) - 1
    assert torch.equal(learn(m, x, acts[0]).loss, learn(m, x, acts[1]).loss)


def test_with_action_predictions_depend_on_this_and_former_actions() -> None:
    m = make(context=3, action=True)
    assert m.uses_action
    h, s, a, _ = some(m, 100)
    z = torch.randn(100, 3, generator=rng(4))
    after = m.expect(m.predict(h, s, z, a))
    assert not torch.equal(after, m.expect(m.predict(h, s, z, -a)))
    former = s.clone()
    former[:, -4:] *= -1  # the last of s: actions of two steps before
    assert not torch.equal(after, m.expect(m.predict(h, former, z, a)))


def test_action_adds_only_the_parameters_for_actions() -> None:
    def shapes(action: bool) -> dict[str, tuple[int, ...]]:
        return {k: tuple(v.shape) for k, v in make(context=2, action=action).state_dict().items()}

    without, with_ = shapes(False), shapes(True)
    assert with_.pop("language.act.weight") == (16, 2)
    assert with_.pop("language.act.bias") == (16,)
    # One more position for each step of the window.
    assert without.pop("language.position") == (2 * 3 + 2, 16)
    assert with_.pop("language.position") == (2 * (3 + 1) + 2, 16)
    assert with_ == without


# Settings


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("action", True), ("context", 2), ("bins", 5), ("width", 8), ("layers", 1)),
        *(("heads", 4), ("uniform", 0.1)),
    ],
)
def test_every_setting_changes_the_loss(flag: str, value: Any) -> None:
    def loss(**config: Any) -> float:
        m = make(**config)
        x = torch.randn(m.context + 1, 16, 3, generator=rng())
        return float(learn(m, x, torch.ones(m.context, 16, 2)).loss.detach())

    assert loss(**{flag: value}) != pytest.approx(loss(), abs=1e-4)


def test_a_width_that_is_no_multiple_of_heads_names_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"multiple of heads=4, got 30; nearest: 32"):
        AutoregressiveConfig(width=30, heads=4)
