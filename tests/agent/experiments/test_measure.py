"""What a trained model is measured by: prediction errors, information in z, and the baseline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.small_models import make, rng, stir
from worldplan.agent.acting.agentless import ConstantCostActor
from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset
from worldplan.agent.data.batch import Batch
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.evaluate import evaluate
from worldplan.agent.experiments.compare.grid import (
    FAMILIES,
)
from worldplan.agent.experiments.compare.measure import (
    information,
    prediction_errors,
    wander,
)
from worldplan.envs import EnvConfig, EnvironmentSpec, make_vector
from worldplan.planners import PLANNERS, Box, make_planner

TOY = "toy_envs:ToyPoint-v0"


# Measures


def line(count: int = 400, steps: int = 10) -> Batch:
    """x(t+1) = x(t) + a(t), two dimensions of different size and one that stands still."""
    x = torch.randn(count, 1, 3, generator=rng()) * torch.tensor([1.0, 100.0, 0.0])
    a = torch.randn(count, steps, 3, generator=rng(1)) * torch.tensor([1.0, 100.0, 0.0])
    path = torch.cat([x, x + a.cumsum(1)], 1)
    zero = torch.zeros(count, steps)
    return Batch(path, a, zero, zero, zero == 0)


def first_three(features: torch.Tensor) -> Any:
    """A probe for models whose embedding begins with x."""
    return features[..., :3]


class Line(torch.nn.Module):
    """A model that knows the line, up to a share of the action that it does not see."""

    context, noise_dim, latent_dim, embedding_dim, feature_dim = 1, 0, 0, 3, 3

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.prior = make(3, 3).model.prior  # z of width 0

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x

    initial_state = expect = encode

    def predict(self, h: torch.Tensor, s: torch.Tensor, z: Any, a: torch.Tensor) -> torch.Tensor:
        return h + self.share * a


def test_prediction_errors_by_hand() -> None:
    batch = line()

    def errors(share: float) -> dict[str, float]:
        model: Any = Line(share)
        probe: Any = first_three
        return prediction_errors(model, probe, batch, rng())

    assert all(value == pytest.approx(0, abs=1e-6) for value in errors(1.0).values())
    blind = errors(0.0)
    # After T steps T of T + 1 parts of the variance are the actions'.
    for steps in (1, 10):
        assert blind[f"error_{steps}_x"] == pytest.approx((steps / (steps + 1)) ** 0.5, rel=0.05)
    # In x each dimension counts alike; in h the large one is all there is.
    came = batch.observation[:, 1, 1]
    wanted = batch.action[:, 0, 1].square().mean().sqrt() / came.std(correction=0)
    assert blind["error_1_h"] == pytest.approx(float(wanted), rel=1e-3)


def test_windows_that_end_early_are_not_judged_beyond_their_end() -> None:
    model = stir(make(3, 3).model)
    batch = line()
    probe: Any = first_three
    whole = prediction_errors(model, probe, batch, rng())
    batch.valid[:200, 5:] = False
    batch.observation[:200, 6:] = 1e9
    cut = prediction_errors(model, probe, batch, rng())
    assert cut["error_1_x"] == whole["error_1_x"]
    assert cut["error_10_x"] == pytest.approx(whole["error_10_x"], rel=0.3)


def test_wandering_is_the_same_every_time_and_never_the_evaluations(tmp_path: Path) -> None:
    env = EnvConfig(id=TOY)
    one, two = (wander(env, 10_000, tmp_path / name) for name in "ab")
    assert one.transitions == two.transitions > 500
    draws = [r.sample(np.random.default_rng(0), 64, 0, 1) for r in (one, two)]
    assert torch.equal(draws[0].observation, draws[1].observation)
    assert draws[0].action.abs().max() <= 1


def test_the_constant_cost_baseline_does_not_look(toy: dict[str, Any], small: list[str]) -> None:
    config = resolve(toy, [*small, "agent.proposals=0"]).agent
    world = make_vector(EnvConfig(id=TOY), 5)
    torch.manual_seed(0)
    agent = Agent(config, world.spec)
    baseline = ConstantCostActor(agent.controller.planner, agent.model.noise_dim)
    returns = evaluate(agent, world, held_out_seeds(5), baseline).returns
    with torch.no_grad():
        agent.heads.value.weights[-1].normal_()
    again = evaluate(agent, world, held_out_seeds(5), baseline).returns
    np.testing.assert_array_equal(returns, again)  # whatever the weights
    assert not np.array_equal(evaluate(agent, world, held_out_seeds(5)).returns, returns)


@pytest.mark.parametrize("kind", PLANNERS)
def test_every_planner_searches_a_constant_cost(kind: str) -> None:
    config = AgentConfig.model_validate({"planner": kind})
    actor = ConstantCostActor(make_planner(config.planner, Box(2)), 0)
    action, _, plan = actor.act(torch.zeros(3, 4), actor.initial(3), rng())
    assert plan is not None
    assert action.shape == (3, 2)
    assert not plan.cost.any()


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "simulator"])
def test_every_family_can_be_measured(family: str) -> None:
    config = resolve(load_preset("inverted-pendulum"), FAMILIES[family])
    agent = Agent(config.agent, EnvironmentSpec.vectors(3, 3))
    batch = line(64)
    agent.make_learner().observe(batch.observation.flatten(0, 1))
    probe: Any = first_three
    errors = prediction_errors(agent.model, probe, batch, rng())
    assert np.isfinite(list(errors.values())).all()
    assert information(agent.model, batch) >= 0
