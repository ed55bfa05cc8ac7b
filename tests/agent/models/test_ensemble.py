"""The ensemble: aleatoric and epistemic uncertainty, and how z represents both.

Shapes: as in agent/models/ensemble.py; B rows.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from tests.helpers.small_models import rng
from worldplan.agent import load
from worldplan.agent.config.overrides import resolve
from worldplan.agent.models.ensemble import Ensemble, EnsembleConfig
from worldplan.agent.models.world_model import imagine
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvironmentSpec

Draw = Callable[[torch.Generator], tuple[Tensor, Tensor]]  # x (T+1, S, D), a (T, S, A)


def ensemble(observation: int = 1, action: int = 1, seed: int = 0, **settings: Any) -> Ensemble:
    torch.manual_seed(seed)
    config = EnsembleConfig.model_validate({"members": 5, "width": 32, "layers": 2, **settings})
    return Ensemble(config, EnvironmentSpec.vectors(observation, action))


def loss(model: Ensemble, x: Tensor, a: Tensor) -> Tensor:
    T, S = a.shape[:2]
    noise = torch.randn(T, S, model.noise_dim, generator=rng())
    valid = torch.ones(T, S, dtype=torch.bool)
    return model.loss(x, a, valid, valid / T, noise, noise).loss


def fit(model: Ensemble, draw: Draw, updates: int, learning_rate: float = 3e-3) -> Ensemble:
    """Trains on batches, the last fifth of them at a tenth of the learning rate."""
    generator = rng()
    for _ in range(20):
        model.normaliser.update(draw(generator)[0].flatten(0, 1))
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    for step in range(updates):
        if step == updates - updates // 5:
            optimizer.param_groups[0]["lr"] = learning_rate / 10
        optimizer.zero_grad()
        loss(model, *draw(generator)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model


@torch.no_grad()
def predictions(model: Ensemble, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of x' by each member, (N, ..., D), in units of x."""
    h, scale = model.encode(x), model.normaliser.scale
    error, log_std = model._errors(h, a, h)
    return x - error * log_std.exp() * scale, log_std.exp() * scale


# What is learned


MATRIX = torch.tensor([[0.9, 0.2], [-0.3, 0.8]])
PUSH = torch.tensor([[0.0, 0.5]])
NOISE = torch.tensor([0.1, 0.4])


def linear(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """x' = x MATRIX + a PUSH + NOISE * normal; the dimensions have different units."""
    x = torch.randn(256, 2, generator=generator)
    a = 2 * torch.rand(1, 256, 1, generator=generator) - 1
    after = x @ MATRIX + a[0] @ PUSH + NOISE * torch.randn(256, 2, generator=generator)
    return torch.stack([x, after]) * torch.tensor([1.0, 100.0]), a


def test_a_linear_gaussian_system_is_learned_with_its_noise() -> None:
    model = fit(ensemble(2, 1), linear, 500)
    units = torch.tensor([1.0, 100.0])
    x, a = torch.randn(500, 2, generator=rng(9)), 2 * torch.rand(500, 1, generator=rng(8)) - 1
    mean, std = predictions(model, x * units, a)
    error = mean / units - (x @ MATRIX + a @ PUSH)
    assert error.square().mean().sqrt() < 0.04
    assert (std.mean(1) / units / NOISE - 1).abs().max() < 0.1  # for every member
    assert (std.std(1) / units / NOISE).max() < 0.1  # and for every x
    # So imagined trajectories have the right standard deviations after one and two steps.
    h = model.encode(torch.zeros(4000, 2))
    noise = torch.randn(2, 4000, model.noise_dim, generator=rng(7))
    future = imagine(model, h, model.initial_state(h), torch.zeros(2, 4000, 1), noise).h
    got = (future[1:].std(1) * model.normaliser.scale / units).detach()
    two = (MATRIX.T.square() @ NOISE.square() + NOISE.square()).sqrt()
    torch.testing.assert_close(got, torch.stack([NOISE, two]), rtol=0.12, atol=0)


def two_regions(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """x' = sin 3x + noise, with data in [1, 2], where noise is large, and in [-2, -1]."""
    side = 2 * torch.randint(0, 2, (256, 1), generator=generator) - 1
    x = side * (1 + torch.rand(256, 1, generator=generator))
    a = 2 * torch.rand(1, 256, 1, generator=generator) - 1
    noise = torch.where(x > 0, 0.3, 0.05) * torch.randn(256, 1, generator=generator)
    return torch.stack([x, torch.sin(3 * x) + noise]), a


def test_members_disagree_where_there_are_no_data_but_not_because_of_noise() -> None:
    model = fit(ensemble(), two_regions, 400)
    quiet, loud = torch.linspace(-1.8, -1.2, 7), torch.linspace(1.2, 1.8, 7)
    between, beyond = torch.linspace(-0.3, 0.3, 7), torch.linspace(2.8, 3.4, 7)
    x = torch.stack([quiet, loud, between, beyond]).unsqueeze(-1)
    mean, std = predictions(model, x, torch.zeros(4, 7, 1))
    disagreement, noise = mean.std(0).mean((1, 2)), std.mean((0, 2, 3))
    seen = disagreement[:2].max()
    assert disagreement[2] > 1.5 * seen
    assert disagreement[3] > 1.5 * seen
    assert float(noise[0]) == pytest.approx(0.05, rel=0.25)
    assert float(noise[1]) == pytest.approx(0.3, rel=0.15)
    assert noise[1] > 3 * seen  # noise is not learned as disagreement


# The latent z


def constants(values: list[float], std: float, sampling: str = "ts1") -> Ensemble:
    """Members that predict x' = x + c_i with standard deviation std for all inputs."""
    model = ensemble(members=len(values), sampling=sampling)
    with torch.no_grad():
        model.networks.biases[-1][:, 0, 0] = torch.tensor(values)
        model.lowest.fill_(math.log(std) - 20)  # bounds without effect
        model.highest.fill_(math.log(std) + 20)
        model.networks.biases[-1][:, 0, 1] = math.log(std)
    return model


@pytest.mark.parametrize("sampling", ["ts1", "tsinf"])
def test_the_variance_of_a_sum_depends_on_how_members_are_sampled(sampling: str) -> None:
    """T steps of constants c_i: variance T var(c) if resampled, T^2 var(c) if kept."""
    c, T, B = [-0.2, 0.1, 0.4], 6, 20_000
    model = constants(c, 1e-4, sampling)
    h = torch.zeros(B, 1)
    noise = torch.randn(T, B, model.noise_dim, generator=rng())
    future = imagine(model, h, model.initial_state(h), torch.zeros(T, B, 1), noise)
    total = future.h[-1, :, 0].detach()
    variance = float(torch.tensor(c).var(correction=0)) * (T if sampling == "ts1" else T**2)
    assert float(total.var()) == pytest.approx(variance, rel=0.05)
    assert float(total.mean()) == pytest.approx(0.1 * T, abs=0.03)
    members = future.z[..., :3]
    assert torch.equal(members.sum(-1), torch.ones(T, B))
    assert bool((members == members[0]).all()) == (sampling == "tsinf")
    share = members.mean((0, 1))
    torch.testing.assert_close(share, torch.full((3,), 1 / 3), atol=0.02, rtol=0)


def test_the_state_contains_the_current_member() -> None:
    model = constants([0.0, 1.0], 0.5, "tsinf")
    h, a = torch.zeros(50, 1), torch.zeros(50, 1)
    s = model.initial_state(h)
    assert torch.equal(s, torch.zeros(50, 3))
    z = model.prior(h, s, a).sample(torch.randn(50, 2, generator=rng()))
    after = model.predict(h, s, z, a)
    assert torch.equal(after[:, 1:], z[:, :2])
    assert 0 < float(z[:, 0].mean()) < 1
    # Prior and posterior keep that member, however unlikely h_next is.
    for found in (model.prior(h, after, a), model.posterior(h, after, a, h + 9)):
        again = found.sample(torch.randn(50, 2, generator=rng(1)))
        assert torch.equal(again[:, :2], z[:, :2])
    # After filtering the member is sampled again.
    assert torch.equal(model.filter(h, after, a, h + 1, a[:, 0] == 0), model.initial_state(h + 1))


def test_the_posterior_is_bayes_rule() -> None:
    """x' = x + 0.75; members predict x and x + 1 with std 0.5: the log odds are 1."""
    model = constants([0.0, 1.0], 0.5)
    h, a = torch.zeros(20_000, 1), torch.zeros(20_000, 1)
    posterior = model.posterior(h, model.initial_state(h), a, h + 0.75)
    z = posterior.sample(torch.randn(20_000, 2, generator=rng())).detach()
    second = z[:, 1] == 1
    assert float(second.float().mean()) == pytest.approx(1 / (1 + math.exp(-1)), abs=0.01)
    # Standardised residuals: (0.75 - 1) / 0.5 and 0.75 / 0.5.
    torch.testing.assert_close(z[:, 2], torch.where(second, -0.5, 1.5), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(posterior.mode()[0].detach(), torch.tensor([0.0, 1.0, -0.5]))


def test_densities_and_divergences_of_z() -> None:
    model = constants([0.0, 1.0, 2.0, 3.0], 0.5, "tsinf")
    h, a = torch.zeros(1, 1), torch.zeros(1, 1)
    s = model.initial_state(h)
    prior, z = model.prior(h, s, a), torch.tensor([[0.0, 1.0, 0.0, 0.0, 2.0]])
    normal = -0.5 * (4 + math.log(2 * math.pi))
    assert float(prior.log_prob(z)) == pytest.approx(-math.log(4) + normal)
    assert torch.equal(prior.mode()[:, 4:], torch.zeros(1, 1))
    certain = model.prior(h, model.predict(h, s, z, a), a)
    assert float(certain.log_prob(z)) == pytest.approx(normal)
    assert float(certain.kl(prior)) == pytest.approx(math.log(4))
    posterior = model.posterior(h, s, a, h)
    for one, other in ((posterior, prior), (prior, posterior)):
        with pytest.raises(ValueError, match="infinite"):
            one.kl(other)
    with pytest.raises(ValueError, match="infinite"):
        posterior.log_prob(z)
    assert posterior.known is not None
    assert posterior.known.requires_grad
    closed = posterior.detach()
    assert not closed.sample(torch.zeros(1, 2)).requires_grad
    assert torch.equal(closed.mode(), posterior.mode())


# Training


def test_each_member_has_its_own_bootstrap_weights() -> None:
    """A transition has the same weight whenever it is sampled, and another for each member."""
    model = ensemble(2, 1, members=3)
    x, a = torch.randn(3, 4000, 2, generator=rng()), torch.randn(2, 4000, 1, generator=rng(1))
    weights = model._bootstrap_weights(x, a)
    assert weights.shape == (3, 2, 4000)
    torch.testing.assert_close(weights.mean((1, 2)), torch.ones(3), atol=0.05, rtol=0)
    torch.testing.assert_close(weights.var((1, 2)), torch.ones(3), atol=0.15, rtol=0)
    related = torch.corrcoef(weights.flatten(1))
    assert (related - torch.eye(3)).abs().max() < 0.05
    elsewhere = torch.randperm(4000, generator=rng(2))
    assert torch.equal(
        model._bootstrap_weights(x[1:, elsewhere], a[1:, elsewhere]), weights[:, 1:, elsewhere]
    )
    moved = x.clone()
    moved[2, 0, 0] += 1e-6  # a slightly different transition
    assert not torch.equal(model._bootstrap_weights(moved, a)[:, 1, 0], weights[:, 1, 0])
    assert not torch.equal(ensemble(2, 1, seed=1, members=3)._bootstrap_weights(x, a), weights)


def test_the_standard_deviation_stays_within_its_bounds() -> None:
    model = ensemble()
    raw = torch.tensor([-50.0, -3.0, 0.0, 50.0]).unsqueeze(-1)
    log_std = model._log_std(raw).detach()
    assert (log_std.diff(dim=0) > 0).all()
    torch.testing.assert_close(log_std[[0, -1], 0], torch.tensor([-5.0, 0.25]), atol=0.01, rtol=0)


def batch(T: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randn(T + 1, 16, 2, generator=rng()), torch.randn(T, 16, 1, generator=rng(1))


def test_the_loss_of_a_window_is_the_mean_over_its_steps() -> None:
    model = ensemble(2, 1, bounds=0.0)
    with torch.no_grad():
        model.networks.weights[-1].normal_(generator=rng())
    x, a = batch(3)
    steps = [loss(model, x[t : t + 2], a[t : t + 1]) for t in range(3)]
    torch.testing.assert_close(loss(model, x, a), torch.stack(steps).mean())


@pytest.mark.parametrize(
    ("flag", "value"),
    [("members", 4), ("width", 16), ("layers", 1), ("weight", 2.0), ("bounds", 1.0)],
)
def test_every_setting_changes_the_loss(flag: str, value: float) -> None:
    settings: dict[str, Any] = {flag: value}
    default, changed = loss(ensemble(2, 1), *batch()), loss(ensemble(2, 1, **settings), *batch())
    assert not torch.equal(default, changed)


def test_every_setting_is_tested() -> None:
    tested = {"members", "width", "layers", "weight", "bounds", "sampling", "kind"}
    assert tested == set(EnsembleConfig.model_fields)


def test_one_member_is_a_single_probabilistic_network() -> None:
    model = ensemble(2, 1, members=1)
    x, a = batch()
    assert torch.isfinite(loss(model, x, a))
    h = model.encode(x[0])
    z = model.prior(h, model.initial_state(h), a[0]).sample(torch.zeros(16, 3))
    assert torch.equal(z, torch.tensor([1.0, 0.0, 0.0]).expand(16, 3))


def test_a_run_trains_it_and_the_saved_agent_acts(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    settings = [s for s in small if not s.startswith("model.")]
    own = ["model.kind=ensemble", "model.width=16", "planner.latent_samples=3", "steps=60"]
    trainer = Trainer(resolve(toy, [*settings, *own]), tmp_path, Console(quiet=True))
    trainer.run()
    first, again = (load(tmp_path).act(np.ones(2)) for _ in range(2))
    assert first.shape == (1,)
    np.testing.assert_array_equal(first, again)
    assert isinstance(trainer.agent.model, Ensemble)
    assert trainer.agent.model.config.sampling == "tsinf"
