"""The learner: what its settings change, and what counts for nothing."""

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
)
from worldplan.agent.learning.learner import Learner, LearnerConfig
from worldplan.agent.models.jepa import JEPAConfig


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


def test_what_acts_knows_the_spread_of_values() -> None:
    learner = make(3, 2, {}, horizon=2)
    for step in range(3):
        learner.update(noise_batch(learner, seed=step), rng())
        learner.value_scale.add_(5)
    learner.update(noise_batch(learner, seed=3), rng())
    assert learner.value_scale > 10
    assert torch.equal(learner.acting[1].unit.spread, learner.value_scale)


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
