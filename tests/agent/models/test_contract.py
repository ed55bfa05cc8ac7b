"""The contract of agent/models/world_model.py, for every family of world models.

Shapes: as there.
"""

import pytest
import torch
from torch import Tensor

from tests.helpers.acting import initial
from tests.helpers.contract_cases import CASES, Case, every, some
from tests.helpers.small_models import rng
from worldplan.agent.agent import Agent
from worldplan.agent.models.registry import MODELS
from worldplan.agent.models.world_model import LearnedModel, Model, ModelLoss, imagine


def test_every_family_has_a_case() -> None:
    assert {case.model["kind"] for case in CASES.values()} == set(MODELS)


# Shapes and types


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
@every
def test_any_leading_shape(case: Case, lead: tuple[int, ...]) -> None:
    m = case.model_of()
    x, a = case.x(*lead), case.a(*lead)
    h = m.encode(x)
    s = m.initial_state(h)
    prior = m.prior(h, s, a)
    z = prior.sample(torch.randn(*lead, m.noise_dim, generator=rng()))
    after = m.predict(h, s, z, a)
    h_next = m.encode(case.x(*lead, seed=5))
    posterior = m.posterior(h, s, a, h_next)
    filtered = m.filter(h, s, a, h_next, torch.ones(lead, dtype=torch.bool))
    # All outputs are float32, also those of float64 simulations.
    for u, width in (
        (h, m.embedding_dim),
        (z, m.latent_dim),
        (prior.mode(), m.latent_dim),
        (posterior.mode(), m.latent_dim),
        (posterior.sample(torch.randn(*lead, m.noise_dim)), m.latent_dim),
        (m.expect(s), m.embedding_dim),
        (m.expect(after), m.embedding_dim),
        (m.features(h, s), m.feature_dim),
        (m.features(m.expect(after), after), m.feature_dim),
        (after, s.shape[-1]),
        (filtered, s.shape[-1]),
    ):
        assert u.shape == (*lead, width)
        assert u.dtype == torch.float32
        assert torch.isfinite(u).all()
    assert prior.log_prob(z).shape == lead
    assert prior.kl(prior).shape == lead
    assert torch.allclose(prior.kl(prior), torch.zeros(lead), atol=1e-5)
    if case.finite_kl:
        assert posterior.kl(prior).shape == lead
    else:
        with pytest.raises(ValueError, match="infinite"):
            posterior.kl(prior)


@every
def test_the_initial_state_expects_its_embedding(case: Case) -> None:
    m = case.model_of()
    h = m.encode(case.x(5))
    assert torch.equal(m.expect(m.initial_state(h)), h)


# Enc and Pred are functions


def walk(m: Model, x: Tensor, a: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
    """All outputs of a model in two steps: x (3, B, D), a (2, B, A), noise (2, B, E)."""
    h = m.encode(x)
    s = m.filter(h[0], m.initial_state(h[0]), a[0], h[1], torch.arange(x.shape[1]) != 1)
    z = m.prior(h[1], s, a[1]).sample(noise[0])
    z_next = m.posterior(h[1], s, a[1], h[2]).sample(noise[1])
    return h, s, z, z_next, m.predict(h[1], s, z, a[1]), m.features(h[1], s)


@every
def test_all_outputs_are_deterministic_given_the_noise(case: Case) -> None:
    m = case.model_of()
    x, a, noise = case.x(3, 6), case.a(2, 6), torch.randn(2, 6, m.noise_dim, generator=rng(2))
    for once, again in zip(walk(m, x, a, noise), walk(m, x, a, noise), strict=True):
        assert torch.equal(once, again)


@every
def test_a_batch_equals_its_rows_one_by_one(case: Case) -> None:
    m = case.model_of()
    x, a, noise = case.x(3, 6), case.a(2, 6), torch.randn(2, 6, m.noise_dim, generator=rng(2))
    h = m.encode(x)
    valid = torch.ones(1, dtype=torch.bool)
    z = m.prior(h[0], m.initial_state(h[0]), a[0]).sample(noise[0])
    after = m.predict(h[0], m.initial_state(h[0]), z, a[0])
    filtered = m.filter(h[0], m.initial_state(h[0]), a[0], h[1], valid.expand(6))
    for i in range(6):
        row = slice(i, i + 1)
        alone = m.encode(x[:, row])
        s = m.initial_state(alone[0])
        z_alone = m.prior(alone[0], s, a[0, row]).sample(noise[0, row])
        torch.testing.assert_close(alone, h[:, row])
        torch.testing.assert_close(z_alone, z[row])
        torch.testing.assert_close(m.predict(alone[0], s, z_alone, a[0, row]), after[row])
        torch.testing.assert_close(m.filter(alone[0], s, a[0, row], alone[1], valid), filtered[row])


@every
def test_other_noise_gives_other_predictions(case: Case) -> None:
    m = case.model_of()
    assert (m.latent_dim == 0) == (m.noise_dim == 0)
    h, a = m.encode(case.x(200)), case.a(200)
    s = m.initial_state(h)
    noise = torch.randn(2, 200, m.noise_dim, generator=rng(2))
    z, other = (m.prior(h, s, a).sample(e) for e in noise)
    if m.latent_dim:
        assert not torch.equal(z, other)
        assert not torch.equal(m.predict(h, s, z, a), m.predict(h, s, other, a))


@some("exact_posterior")
def test_predicting_with_the_posterior_returns_h_next(case: Case) -> None:
    m = case.model_of()
    h, h_next, a = m.encode(case.x(50)), m.encode(case.x(50, seed=3)), case.a(50)
    s = m.initial_state(h)
    posterior = m.posterior(h, s, a, h_next)
    for z in (posterior.mode(), posterior.sample(torch.randn(50, m.noise_dim, generator=rng()))):
        reached = m.expect(m.predict(h, s, z, a))
        torch.testing.assert_close(reached, h_next, atol=1e-4, rtol=1e-4)


# Context


@every
def test_acting_filters_the_context(case: Case) -> None:
    """After a reset the state is the initial one."""
    agent = case.make()
    m, C = agent.model, agent.model.context - 1
    x, a = case.x(C + 2, 2), case.a(C + 2, 2)
    state = initial(agent, 2)
    for t in range(C + 1):  # one more than the context
        state = state.remember(x[t], a[t])
    h, s = state.filter(agent.model, x[-1])
    seen = m.encode(x[1:])
    by_hand = m.initial_state(seen[0])
    for t in range(C):
        here = torch.ones(2, dtype=torch.bool)
        by_hand = m.filter(seen[t], by_hand, a[t + 1], seen[t + 1], here)
    torch.testing.assert_close(h, seen[-1])
    torch.testing.assert_close(s, by_hand)
    _, reset = state.begin(torch.tensor([True, False])).filter(agent.model, x[-1])
    torch.testing.assert_close(reset[0], m.initial_state(h)[0])
    torch.testing.assert_close(reset[1], s[1])
    assert torch.equal(s, m.initial_state(h)) == (C == 0)


@every
def test_filtering_an_invalid_step_gives_the_initial_state(case: Case) -> None:
    m = case.model_of()
    h, a = m.encode(case.x(3, 6)), case.a(2, 6)
    s = m.filter(h[0], m.initial_state(h[0]), a[0], h[1], torch.ones(6, dtype=torch.bool))
    after = m.filter(h[1], s, a[1], h[2], torch.zeros(6, dtype=torch.bool))
    assert torch.equal(after, m.initial_state(h[2]))


# Gradients


@some("differentiable")
def test_gradients_pass_through_pred(case: Case) -> None:
    m = case.model_of()
    h, a = m.encode(case.x(6)).detach(), case.a(6)
    z = m.prior(h, m.initial_state(h), a).sample(torch.randn(6, m.noise_dim, generator=rng()))
    inputs = [u.detach().requires_grad_() for u in (h, z, a) if u.shape[-1]]
    z_in = inputs[1] if m.latent_dim else z
    s = m.initial_state(inputs[0])
    reached = m.expect(m.predict(inputs[0], s, z_in, inputs[-1])).square().sum()
    gradients = torch.autograd.grad(reached, inputs if m.uses_action else inputs[:-1])
    for gradient in gradients:
        assert torch.isfinite(gradient).all()
        assert (gradient != 0).any(-1).all()


@some("differentiable")
def test_gradients_pass_through_an_imagined_trajectory(case: Case) -> None:
    m = case.model_of()
    h, a = m.encode(case.x(6)).detach(), case.a(4, 6).requires_grad_()
    noise = torch.randn(4, 6, m.noise_dim, generator=rng())
    future = imagine(m, h, m.initial_state(h), a, noise)
    if m.uses_action:
        (gradient,) = torch.autograd.grad(future.h[-1].square().sum(), a)
        assert torch.isfinite(gradient).all()
        assert (gradient != 0).any(-1).all()
    else:
        (gradient,) = torch.autograd.grad(
            future.h[-1].square().sum(), a, materialize_grads=True, allow_unused=True
        )
        assert not gradient.any()


# Learning


def loss_of(case: Case, agent: Agent, m: Model, change_after_end: bool = False) -> ModelLoss:
    """The loss on a batch of noise, in one window of which the episode has ended."""
    assert isinstance(m, LearnedModel)
    batch = case.batch(agent)
    x, a, valid = (u.transpose(0, 1) for u in (batch.observation, batch.action, batch.valid))
    if change_after_end:
        a = torch.where(valid.unsqueeze(-1), a, -a)
        if not case.uses_all_embeddings:
            x = torch.cat([x[:1], torch.where(valid.unsqueeze(-1), x[1:], -x[1:])])
    T = agent.config.learner.horizon
    noise = torch.randn(len(a), a.shape[1], m.noise_dim, generator=rng(4))
    extra = torch.randn(m.extra_noise, generator=rng(5))
    return m.loss(x, a, valid, valid[-T:] / T, noise, extra)


@some("learns")
def test_the_loss_comes_with_the_inputs_of_the_heads(case: Case) -> None:
    agent = case.make()
    m, batch = agent.make_learner().model, case.batch(agent)
    T = agent.config.learner.horizon
    found = loss_of(case, agent, m)
    assert found.loss.shape == ()
    assert torch.isfinite(found.loss)
    assert all(v.shape == () and torch.isfinite(v) for v in found.metrics.values())
    assert found.features.shape == (T, 8, m.feature_dim)
    assert found.z.shape == (T, 8, m.latent_dim)
    assert found.last.shape == (8, m.feature_dim)
    assert not any(u.requires_grad for u in (*found.start, found.last))
    start = m.features(*found.start)
    torch.testing.assert_close(start, found.features[0].detach())
    # A window starts as in acting: with the filtered context.
    x, past = batch.observation, m.context - 1
    h = m.encode(x[:, 0])
    s = m.initial_state(h)
    for t in range(past):
        h_next = m.encode(x[:, t + 1])
        s = m.filter(h, s, batch.action[:, t], h_next, batch.valid[:, t])
        h = h_next
    torch.testing.assert_close(start, m.features(h, s).detach())
    again, other = (loss_of(case, agent, m, change_after_end=after) for after in (False, True))
    assert torch.equal(again.loss, found.loss)
    assert torch.equal(other.loss, found.loss)  # steps after the end have no weight


@some("trained")
def test_gradients_reach_every_parameter(case: Case) -> None:
    agent = case.make()
    m = agent.make_learner().model
    named = {k: p for k, p in m.named_parameters() if p.requires_grad}
    loss = loss_of(case, agent, m).loss
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    dead = [k for k, g in zip(named, gradients, strict=True) if g is None or not g.any()]
    assert named
    assert dead == []


@some("learns")
def test_an_update_changes_all_parameters_and_is_reproducible(case: Case) -> None:
    def run(seed: int) -> list[Tensor]:
        agent = case.make()
        learner, generator = agent.make_learner(), rng(seed)
        for k in range(3):
            metrics = learner.update(case.batch(agent, seed=k), generator)
        assert all(torch.isfinite(v) for v in metrics.values())
        return [p.detach() for p in learner.parameters]

    before, first, again = case.make().make_learner().parameters, run(0), run(0)
    assert all(torch.equal(p, q) for p, q in zip(first, again, strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(first, before, strict=True))
