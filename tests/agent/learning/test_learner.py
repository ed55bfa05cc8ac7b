"""The learner: what its settings change, what counts for nothing, and what the heads learn."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import (
    ANTI_COLLAPSE,
    LATENTS,
    gradients,
    make,
    noise_batch,
    rng,
    stir,
    train,
    window,
)
from worldplan.agent.data.replay import Batch
from worldplan.agent.learning.learner import Learner, LearnerConfig
from worldplan.agent.models.jepa import JEPAConfig
from worldplan.agent.models.world_model import imagine_step

# The update


def weights(learner: Learner) -> Tensor:
    """Everything that training changes, in one vector."""
    tensors = [*learner.model.state_dict().values(), *learner.heads.state_dict().values()]
    return torch.cat([u.double().flatten() for u in [*tensors, learner.value_scale]])


@pytest.mark.parametrize("method", [*ANTI_COLLAPSE, "none"])
@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("kind", list(LATENTS))
def test_gradient_reaches_every_parameter(kind: str, context: int, method: str) -> None:
    latent = {**LATENTS[kind], "free_bits": 0.0}
    learner = make(
        3,
        2,
        {"latent": latent, "context": context, "anti_collapse": method},
        horizon=2,
        **ANTI_COLLAPSE.get(method, {}),
    )
    stir(learner.model)
    for module in (learner.heads.outcome, learner.heads.policy, learner.heads.value):
        with torch.no_grad():
            for p in module.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=rng()))
    dead = [k for k, g in gradients(learner, noise_batch(learner)).items() if not g.any()]
    assert dead == []


@pytest.mark.parametrize("kind", list(LATENTS))
def test_same_seed_same_weights(kind: str) -> None:
    def run(seed: int, noise: int) -> Tensor:
        learner = make(3, 2, {"latent": LATENTS[kind], "context": 2}, horizon=2, seed=seed)
        generator = rng(noise)
        for step in range(5):
            learner.update(noise_batch(learner, seed=step), generator)
        return weights(learner)

    first = run(0, 0)
    assert torch.isfinite(first).all()
    assert torch.equal(first, run(0, 0))
    assert not torch.equal(first, run(1, 0))
    assert not torch.equal(first, run(0, 1))


LEARNER_FLAGS: dict[str, tuple[Any, str]] = {
    "horizon": (1, "simnorm"),
    "learning_rate": (2e-3, "simnorm"),
    "encoder_scale": (0.5, "simnorm"),
    "grad_clip_norm": (1e-3, "simnorm"),
    "rho": (1.0, "simnorm"),
    "consistency": (0.0, "simnorm"),
    "reward": (0.0, "simnorm"),
    "continuation": (0.0, "simnorm"),
    "value": (0.0, "simnorm"),
    "entropy": (0.0, "simnorm"),
    "imagination": (2, "simnorm"),
    "tau": (0.5, "simnorm"),
    "encoder_ema": (0.5, "layernorm"),
    "vicreg_variance": (0.0, "vicreg"),
    "vicreg_covariance": (0.0, "vicreg"),
    "sigreg": (0.0, "sigreg"),
    "sigreg_directions": (3, "sigreg"),
    "task_gradient": (False, "simnorm"),
    "task_heads": (False, "simnorm"),
}


def updated(
    model: dict[str, Any], heads: dict[str, Any] | None = None, **learner: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weights after three updates, and the last metrics."""
    learner_ = make(3, 2, {"context": 2, **model}, heads, **{"horizon": 2, **learner})
    metrics: dict[str, Tensor] = {}
    for step in range(3):
        metrics = learner_.update(noise_batch(learner_, seed=step), rng(step))
    return weights(learner_), metrics


def test_every_setting_of_the_learner_is_listed() -> None:
    of_model = {"consistency", "encoder_ema", "vicreg_variance", "vicreg_covariance", "sigreg"}
    of_model |= {"sigreg_directions"}
    assert of_model <= set(JEPAConfig.model_fields)
    assert set(LEARNER_FLAGS) - of_model == set(LearnerConfig.model_fields) - {"batch_size"}


@pytest.mark.parametrize("flag", list(LEARNER_FLAGS))
def test_every_setting_of_the_learner_changes_what_is_learnt(flag: str) -> None:
    value, method = LEARNER_FLAGS[flag]
    base = {"sigreg_directions": 16, **({"encoder_ema": 0.01} if flag == "encoder_ema" else {})}
    normal, _ = updated({"anti_collapse": method}, None, **base)
    changed, _ = updated({"anti_collapse": method}, None, **{**base, flag: value})
    assert normal.shape == changed.shape
    assert (normal - changed).abs().max() > 1e-7


@pytest.mark.parametrize(
    ("kind", "flag", "value"),
    [
        ("gaussian", "kl_weight", 0.0),
        ("gaussian", "free_bits", 5.0),
        ("gaussian", "prior_share", 0.1),
        ("gaussian", "min_std", 0.5),
        ("categorical", "kl_weight", 0.0),
        ("categorical", "free_bits", 5.0),
        ("categorical", "prior_share", 0.1),
        ("categorical", "uniform", 0.5),
    ],
)
def test_every_setting_of_z_changes_what_is_learnt(kind: str, flag: str, value: float) -> None:
    latent = {**LATENTS[kind], "free_bits": 0.0, "kl_weight": 1.0, "prior_share": 0.8}
    normal, metrics = updated({"latent": latent})
    changed, _ = updated({"latent": {**latent, flag: value}})
    assert (normal - changed).abs().max() > 1e-7
    assert metrics["kl"] > 0


def test_discount_changes_what_is_learnt() -> None:
    normal, _ = updated({}, discount=0.9)
    assert not torch.equal(normal, updated({}, discount=0.5)[0])


def test_target_encoder_follows_slowly() -> None:
    learner = make(3, 2, {"anti_collapse": "layernorm"}, encoder_ema=0.25)
    assert learner.model.target_encoder is not None
    before = [p.clone() for p in learner.model.target_encoder.parameters()]
    learner.update(noise_batch(learner), rng())
    now = list(learner.model.encoder.parameters())
    for old, new, slow in zip(before, now, learner.model.target_encoder.parameters(), strict=True):
        torch.testing.assert_close(slow.detach(), old + 0.25 * (new.detach() - old))
    assert any(not torch.equal(old, new) for old, new in zip(before, now, strict=True))


def test_pred_is_trained_towards_the_target_encoder() -> None:
    learner = make(3, 2, {"anti_collapse": "layernorm"}, encoder_ema=0.25)
    assert learner.model.target_encoder is not None
    with torch.no_grad():
        for p in learner.model.target_encoder.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=rng()))
    model, batch = learner.model, noise_batch(learner)
    before, after = batch.observation.unbind(1)
    target = learner.model.target_encoder(model.normaliser(after))
    h = model.encode(before)
    predicted = model.predict(h, model.initial_state(h), h[:, :0], batch.action[:, 0])
    error = ((predicted - target) ** 2).mean(-1)
    expected = (error * batch.valid[:, 0]).mean()
    metrics = learner.update(batch, rng())
    torch.testing.assert_close(metrics["consistency"], expected.detach())


@pytest.mark.parametrize("context", [1, 3])
def test_what_follows_the_end_of_an_episode_counts_for_nothing(context: int) -> None:
    """Truncated after the first of three steps: the window then stands still at its last state."""
    learner = make(3, 2, {"context": context}, horizon=3)
    stir(learner.model)
    with torch.no_grad():
        for p in learner.heads.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng()))
    batch, first = noise_batch(learner), context - 1
    batch.observation[:, first + 2 :] = batch.observation[:, first + 1 : first + 2]
    batch.valid[:, first + 1 :] = False
    other = replace(
        batch,
        action=torch.where(batch.valid[..., None], batch.action, 1.0),
        reward=torch.where(batch.valid, batch.reward, 99.0),
        terminated=torch.where(batch.valid, batch.terminated, 1.0),
    )
    expected, got = gradients(learner, batch), gradients(learner, other)
    for name, gradient in expected.items():
        assert torch.allclose(got[name], gradient, atol=1e-6), name


# What heads learn

CHAIN = torch.tensor([1.0, -2.0, 3.0])


def chain(generator: torch.Generator) -> Batch:
    """Three places in a row, seen one-hot, with rewards CHAIN; the last step ends it."""
    at = torch.randint(0, 3, (64, 1), generator=generator) + torch.arange(4)
    x = torch.eye(4)[at.clamp(max=3)]  # the fourth place is where it has ended
    here, valid = at[:, :3].clamp(max=2), at[:, :3] < 3
    a = (2 * torch.rand(64, 3, 1, generator=generator) - 1) * valid[..., None]
    return Batch(x, a, CHAIN[here] * valid, (at[:, :3] == 2).float(), valid)


def test_heads_learn_a_chain_that_ends() -> None:
    learner = make(*(4, 1), horizon=3, learning_rate=3e-3, tau=0.1, reward=1.0, value=1.0, rho=1.0)
    train(learner, chain, 250)
    model, heads = learner.model, learner.heads
    h = model.encode(torch.eye(4)[:3])
    f, a = model.features(h, model.initial_state(h)), torch.zeros(3, 1)
    reward, go_on = heads.outcomes(f, h[:, :0], a)
    torch.testing.assert_close(heads.code.decode(reward), CHAIN, atol=0.15, rtol=0)
    assert (go_on.sigmoid() > 0.9).tolist() == [True, True, False]
    assert go_on[2].sigmoid() < 0.1
    # 3, then -2 + 0.9 * 3, then 1 + 0.9 * 0.7: nothing comes after the end.
    value = heads.code.decode(heads.values(f, a))
    expected = torch.tensor([1.63, 0.7, 3.0]).expand(2, 3)
    torch.testing.assert_close(value, expected, atol=0.2, rtol=0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_policy_climbs_the_value(sign: int) -> None:
    """One place, one step, and a reward of a or -a."""

    def draw(generator: torch.Generator) -> Batch:
        a = 2 * torch.rand(64, 1, 1, generator=generator) - 1
        ends = torch.ones(64, 1)
        return Batch(torch.zeros(64, 2, 1), a, sign * a[..., 0], ends, ends > 0)

    learner = make(1, 1, learning_rate=3e-3, value=1.0)
    noise = torch.randn(100, 1, generator=rng())

    def actions() -> Tensor:
        f = learner.model.encode(torch.zeros(100, 1))
        return learner.heads.act(f, noise)[0].detach()

    assert actions().mean().abs() < 0.2
    train(learner, draw, 60)
    assert sign * actions().mean() > 0.7


def test_a_policy_in_imagination_climbs_the_return() -> None:
    """A line: x' = x + a / 2, and a reward of -x' ** 2, which a policy brings to x = 0."""

    def draw(generator: torch.Generator) -> Batch:
        x = 2 * torch.rand(128, 1, generator=generator) - 1
        a = 2 * torch.rand(128, 1, generator=generator) - 1
        after = x + a / 2
        return window(torch.stack([x, after], 1), a.unsqueeze(1), -after.square())

    learner = make(1, 1, imagination=2, learning_rate=3e-3, value=1.0, reward=1.0)
    train(learner, draw, 300)
    x = torch.linspace(-0.4, 0.4, 9).unsqueeze(-1)
    action = learner.heads.act(learner.model.encode(x), torch.zeros_like(x))[0].detach()
    torch.testing.assert_close(action, -2 * x, atol=0.25, rtol=0)


@pytest.mark.parametrize("kind", list(LATENTS))
def test_the_imagined_return_by_hand(kind: str) -> None:
    """Two steps of the policy in the model, added up backwards."""
    learner = make(3, 2, {"latent": LATENTS[kind], "context": 3}, imagination=2)
    stir(learner.model)
    stir(learner.heads)
    m, heads, code = learner.model, learner.heads, learner.heads.code
    h = m.encode(torch.randn(5, 3, generator=rng())).detach()
    s = m.initial_state(h)
    noise = torch.randn(2, 5, m.noise_dim, generator=rng(1))
    pi_noise = torch.randn(3, 5, 2, generator=rng(2))
    value, log_prob = learner._imagine(h, s, noise, pi_noise)

    steps, log_probs = [], []
    for t in range(2):
        f = m.features(h, s)
        a, p = heads.act(f, pi_noise[t])
        h, s, z = imagine_step(m, h, s, a, noise[t])
        reward, go_on = heads.outcomes(f, z, a)
        steps.append((code.decode(reward), 0.9 * go_on.sigmoid()))
        log_probs.append(p)
    f = m.features(h, s)
    a, p = heads.act(f, pi_noise[2])
    (r0, g0), (r1, g1) = steps
    end = code.decode(heads.values(f, a)).mean(0)
    torch.testing.assert_close(value, r0 + g0 * (r1 + g1 * end))
    torch.testing.assert_close(log_prob, (log_probs[0] + log_probs[1] + p) / 3)
    # The policy learns from it, and nothing else.
    value.sum().backward()  # type: ignore[no-untyped-call]
    moved = {k for k, q in [*m.named_parameters(), *heads.named_parameters()] if q.grad is not None}
    assert moved == {f"policy.{k}" for k, _ in heads.policy.named_parameters()}


def ring(generator: torch.Generator) -> Batch:
    """Three places in a circle, a reward of 1 forever; half of the windows are cut short."""
    at = torch.randint(0, 3, (64, 1), generator=generator) + torch.arange(4)
    valid = torch.arange(3) < torch.randint(1, 4, (64, 1), generator=generator)
    last = valid.sum(1, keepdim=True)
    x = torch.eye(3)[(at[:, :1] + torch.arange(4).minimum(last)) % 3]
    a = (2 * torch.rand(64, 3, 1, generator=generator) - 1) * valid[..., None]
    return Batch(x, a, valid.float(), torch.zeros(64, 3), valid)


def test_value_of_a_reward_forever_is_its_geometric_sum_in_spite_of_time_limits() -> None:
    learner = make(3, 1, horizon=3, learning_rate=3e-3, tau=0.5, value=1.0)
    train(learner, ring, 300)
    model, heads = learner.model, learner.heads
    h = model.encode(torch.eye(3))
    f = model.features(h, model.initial_state(h))
    value = heads.code.decode(heads.values(f, torch.zeros(3, 1)))
    torch.testing.assert_close(value, torch.full((2, 3), 10.0), atol=1.0, rtol=0)
    _, go_on = heads.outcomes(f, h[:, :0], torch.zeros(3, 1))
    assert (go_on.sigmoid() > 0.95).all()
