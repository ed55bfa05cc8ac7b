"""Collapse of the embedding: with each method against it, with none, and without rewards."""

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
    train,
    window,
)
from worldplan.agent.data.batch import Batch
from worldplan.agent.evaluation.diagnostics import collapse_warning, diagnose


def swirl(generator: torch.Generator, sequences: int = 64) -> Batch:
    """Dynamics of six observed dimensions: a rotation, tanh, and two actions. No reward."""
    fixed = rng(42)
    turn: Tensor = torch.linalg.qr(torch.randn(6, 6, generator=fixed))[0]
    push = 0.5 * torch.randn(2, 6, generator=fixed)
    x = torch.randn(sequences, 6, generator=generator)
    a = 2 * torch.rand(sequences, 1, 2, generator=generator) - 1
    return window(torch.stack([x, 1.2 * torch.tanh(x @ turn) + a[:, 0] @ push], 1), a)


def collapse(method: str, updates: int) -> list[dict[str, float]]:
    """Measures before and after training without gradients of reward and value."""
    learner = make(
        6, 2, {"anti_collapse": method}, task_gradient=False, **ANTI_COLLAPSE.get(method, {})
    )
    watched = swirl(rng(9), 512)
    train(learner, swirl, 0)
    before = diagnose(learner.model, watched, rng())
    train(learner, swirl, updates)
    return [before, diagnose(learner.model, watched, rng())]


def test_telling_what_comes_from_all_else_prevents_collapse() -> None:
    learner = make(6, 2, {"anti_collapse": "none", "infonce": 1.0}, task_gradient=False)
    watched = swirl(rng(9), 512)
    train(learner, swirl, 160)
    after = diagnose(learner.model, watched, rng())
    assert after["effective_rank"] > 4.8  # of six dimensions
    assert after["embedding_std"] > 0.3
    assert after["model_error"] < 0.6


def test_without_a_method_against_it_the_embedding_collapses() -> None:
    before, after = collapse("none", 260)
    assert after["effective_rank"] < 0.4 * before["effective_rank"]
    assert after["embedding_std"] < 0.1 * before["embedding_std"]
    assert collapse_warning(after, 6) is not None
    assert collapse_warning(before, 6) is None


@pytest.mark.parametrize("method", list(ANTI_COLLAPSE))
def test_each_method_prevents_collapse(method: str) -> None:
    before, after = collapse(method, 160)
    assert after["effective_rank"] > 4.8  # of six dimensions
    assert after["embedding_std"] > 0.5 * before["embedding_std"]
    assert after["model_error"] < 0.6 < before["model_error"]
    assert after["action_sensitivity"] > 0.2
    assert collapse_warning(after, 6) is None


@pytest.mark.parametrize("method", [*ANTI_COLLAPSE, "none"])
@pytest.mark.parametrize("kind", ["none", "gaussian"])
def test_without_task_gradient_reward_and_value_do_not_train_the_model(
    kind: str, method: str
) -> None:
    latent = {**LATENTS[kind], "kl_weight": 0.0}
    model = {"latent": latent, "context": 2, "anti_collapse": method}
    trained = {}
    for task_gradient in (True, False):
        learner = make(
            3,
            2,
            model,
            horizon=2,
            task_gradient=task_gradient,
            consistency=0.0,
            **ANTI_COLLAPSE.get(method, {}),
        )
        with torch.no_grad():
            for p in learner.heads.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=rng()))
        grads = gradients(learner, noise_batch(learner))
        trained[task_gradient] = {k for k, g in grads.items() if g.any()}
    # The heads are trained in both cases, the model only with task_gradient.
    of_heads = {k for k in trained[True] if k.startswith("heads.")}
    assert {k for k in trained[False] if k.startswith("heads.")} == of_heads
    assert {k for k in trained[False] if k.startswith("model.")} == set()
    assert {"model.encoder.0.0.weight", "model.dynamics.0.weight"} < trained[True]
