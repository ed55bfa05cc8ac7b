"""z represents both outcomes of a coin toss, and has no information without one."""

from functools import cache, partial

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import LATENTS, JEPALearner, make, rng, train, window
from worldplan.agent.data.batch import Batch
from worldplan.agent.evaluation.diagnostics import diagnose
from worldplan.agent.models.world_model import imagine


def coin(generator: torch.Generator, scale: float, sequences: int = 128) -> Batch:
    """x' = x + a + scale * (1 or -1, equally likely); the reward is x'."""
    x = 1.5 * torch.randn(sequences, generator=generator)
    a = 2 * torch.rand(sequences, generator=generator) - 1
    side = 2 * torch.randint(0, 2, (sequences,), generator=generator) - 1
    after = x + a + scale * side
    return window(torch.stack([x, after], 1).unsqueeze(-1), a.view(-1, 1, 1), after.unsqueeze(-1))


@cache
def coin_learner(kind: str, scale: float) -> tuple[JEPALearner, dict[str, float]]:
    """A trained model of `coin` with z of a kind and default KL settings, and its metrics."""
    learner = make(1, 1, {"latent": LATENTS[kind]})
    updates = 400 if kind != "none" and scale else 250
    return learner, train(learner, partial(coin, scale=scale), updates)


@torch.no_grad()
def imagined(learner: JEPALearner, x: float, a: float, count: int = 1000) -> tuple[Tensor, Tensor]:
    """x' - x - a (count,) of imagined steps: decoded from the embedding, and from the reward.

    The embedding is decoded by least squares.
    """
    model, heads = learner.model, learner.heads

    def read(h: Tensor) -> Tensor:
        return torch.cat([h, torch.ones(len(h), 1)], 1).double()

    known = torch.linspace(-4, 4, 401).unsqueeze(-1)
    probe = read(model.encode(known))
    ridge = 1e-4 * torch.eye(probe.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(probe.T @ probe + ridge, probe.T @ known.double())
    assert (probe @ weights - known).abs()[100:300].max() < 0.2  # the decoding is accurate

    h = model.encode(torch.full((count, 1), x))
    noise = torch.randn(1, count, model.noise_dim, generator=rng(3))
    future = imagine(model, h, model.initial_state(h), torch.full((1, count, 1), a), noise)
    reward, _ = heads.outcomes(future.features[:-1], future.z, future.actions)
    position = (read(future.h[1]) @ weights)[:, 0].float()
    return position - x - a, heads.code.decode(reward)[0] - x - a


PLACES = [(0.0, 0.0), (1.0, 0.5), (-1.0, 0.5), (0.5, -1.0)]


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_imagined_outcomes_have_the_right_probabilities(kind: str) -> None:
    learner, metrics = coin_learner(kind, 1.0)
    assert metrics["kl"] > 0.4  # of ln 2 = 0.69 nats
    for way in (0, 1):
        side = torch.cat([imagined(learner, x, a)[way] for x, a in PLACES])
        assert float((side > 0).float().mean()) == pytest.approx(0.5, abs=0.1)
        assert float(side[side > 0].mean()) == pytest.approx(1, abs=0.3)
        assert float(side[side < 0].mean()) == pytest.approx(-1, abs=0.3)
        assert (side.abs() < 0.4).float().mean() < 0.2  # few samples near the mean


def test_without_z_the_prediction_is_the_mean() -> None:
    learner, _ = coin_learner("none", 1.0)
    for way in (0, 1):
        side = torch.cat([imagined(learner, x, a, 5)[way] for x, a in PLACES])
        assert side.abs().max() < 0.5
        assert side.view(-1, 5).std(1).max() < 1e-4


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_z_has_no_information_about_deterministic_dynamics(kind: str) -> None:
    learner, metrics = coin_learner(kind, 0.0)
    free = learner.model.latent.free_bits
    assert metrics["kl"] < free + 0.02 < 0.05
    side = torch.cat([imagined(learner, x, a)[0] for x, a in PLACES])
    assert side.abs().mean() < 0.2
    measures = diagnose(learner.model, coin(rng(5), 0.0), rng())
    assert measures["latent_sensitivity"] < 0.1
    assert measures["action_sensitivity"] > 0.3
