"""Features that only one or two algorithms have. Without the feature its test fails."""

import pytest
import torch
from torch import Tensor

from tests.helpers.models.plans import Watched, build, draw, has, run
from worldplan.planners.icem import colour


def test_temperature_divides_the_cost() -> None:
    planner, cost = build("mppi", iterations=1, elites=3, temperature=0.7), Watched()
    _, state = run(planner, cost)
    costs, order = (cost.seen[0][0] - 0.3).square().sum((1, 2)).sort()
    weights = torch.exp(-(costs[:3] - costs[0]) / 0.7)
    mean = (cost.seen[0][0, order[:3]] * weights[:, None, None]).sum(0) / weights.sum()
    torch.testing.assert_close(state.mean[0], mean)


@pytest.mark.parametrize("kind", ["cem", "icem"])
def test_momentum_keeps_a_fraction_of_the_old_distribution(kind: str) -> None:
    settings = {"iterations": 1, "keep": 0.0, "initial_std": 0.8}
    plans = [run(build(kind, momentum=m, **settings), Watched()) for m in (0.0, 0.75)]
    (plan, state), (slow_plan, slow_state) = plans
    torch.testing.assert_close(slow_state.mean, 0.25 * state.mean)
    torch.testing.assert_close(slow_plan.std, 0.25 * plan.std + 0.75 * 0.8)


def test_gradient_refines_the_proposals_too() -> None:
    planner = build("gradient", samples=4, elites=4, initial_std=1e-3, min_std=1e-6, iterations=2)
    cost = Watched(0.9)
    run(planner, cost, proposals=torch.full((1, 1, 3, 2), 0.7))
    # The second of two iterations takes half the learning rate, straight at the goal.
    assert has(cost.seen[1], torch.full((3, 2), 0.8))


def test_learning_rate_is_the_length_of_a_step() -> None:
    for rate in (0.1, 0.3):
        cost = Watched(0.9)
        run(
            build("gradient", learning_rate=rate, iterations=10, initial_std=0.01, min_std=0.01),
            cost,
        )
        step = (cost.seen[1] - cost.seen[0][:, : cost.seen[1].shape[1]]).square().mean().sqrt()
        assert step.item() == pytest.approx(0.9 * rate, rel=1e-2)


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    class Rooted(Watched):  # the derivative of sqrt at 0 is infinite, and times 0 it is NaN
        def __call__(self, actions: Tensor, noise: Tensor) -> Tensor:
            return super().__call__(actions, noise) + (0.0 * actions[:, :, 0, :1]).sqrt()

    cost = Rooted()
    plan, _ = run(build("gradient"), cost)
    assert all(x.isfinite().all() for x in cost.seen)
    assert plan.actions.isfinite().all()


def test_icem_draws_fewer_samples_later_and_adds_the_mean_in_the_last_iteration() -> None:
    cost = Watched()
    planner = build("icem", samples=100, elites=10, iterations=5, decay=2.0, keep=0.0, momentum=0.0)
    run(planner, cost)
    assert [x.shape[1] for x in cost.seen] == [100, 50, 25, 20, 20 + 1]
    order = (cost.seen[3][0] - 0.3).square().sum((1, 2)).argsort()[:10]
    assert torch.allclose(cost.seen[4][0, -1], cost.seen[3][0, order].mean(0))


def test_beta_colours_the_noise() -> None:
    neighbours = []
    for beta in (0.0, 1.0, 2.0):
        planner = build("icem", horizon=8, beta=beta, samples=4000)
        noise = draw(planner).actions
        assert noise.std().item() == pytest.approx(1.0, rel=0.02)
        torch.testing.assert_close(noise.std((0, 1, 2)), torch.ones(8, 2), rtol=0.03, atol=0.0)
        neighbours.append((noise[..., 1:, :] * noise[..., :-1, :]).mean().item())
    assert neighbours[0] == pytest.approx(0.0, abs=0.02)
    assert neighbours[0] + 0.2 < neighbours[1] < neighbours[2] - 0.1


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 9])
def test_coloured_noise_has_the_spectrum_of_its_beta(steps: int) -> None:
    white = torch.randn(20000, steps, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(colour(white, 0.0), white)
    red = colour(white, 2.0)
    assert red.shape == white.shape
    assert red.std().item() == pytest.approx(1.0, rel=0.03)
    power = torch.fft.rfft(red, dim=1).abs().square().mean((0, 2))
    if steps > 4:  # from one octave to the next the power falls by 2^-beta
        assert (power[2] / power[1]).item() == pytest.approx(0.25, rel=0.06)
        assert (power[4] / power[2]).item() == pytest.approx(0.25, rel=0.06)
