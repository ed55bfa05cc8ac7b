"""The units of observations and rewards, and origins, do not change what is learned."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import make, noise_batch, rng
from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.data.batch import Batch
from worldplan.agent.learning.units import RewardUnit
from worldplan.agent.models.bins import Bins
from worldplan.agent.models.networks import Normaliser
from worldplan.envs import EnvironmentSpec

# Not the ensemble: it weights transitions by a hash of their bits, which differ.
LEARNED = [
    pytest.param({"kind": "jepa", "embedding": 16, "width": 16, "simnorm_group": 4}, id="jepa"),
    pytest.param({"kind": "autoregressive", "width": 16, "heads": 2}, id="autoregressive"),
]
SMALL: dict[str, Any] = {
    "heads": {"width": 16, "outcome_width": 16, "bins": 21},
    "learner": {"horizon": 2, "batch_size": 8},
    "planner": {"samples": 16, "elites": 4, "iterations": 2},
    "proposals": 4,
}


@pytest.mark.parametrize("unit", [1e-8, 1e-6, 1e-4, 1e4, 1e8])
@pytest.mark.parametrize("kind", [Normaliser, lambda size: Bins(size, 8)])
def test_a_normaliser_sees_the_same_in_any_unit(kind: Any, unit: float) -> None:
    """The dimensions differ in spread, and the last is constant."""
    x = torch.randn(200, 4, generator=rng()) * torch.tensor([1.0, 1e-4, 30.0, 0.0]) + 3
    plain, other = kind(4), kind(4)
    for part in torch.split(x, 50):
        plain.update(part)
        other.update(unit * part)
    torch.testing.assert_close(other(unit * x), plain(x), rtol=1e-3, atol=1e-2)
    assert plain(x).std(0)[:3] == pytest.approx(1.0, rel=0.05)
    assert not other(unit * x)[:, 3].any()
    assert plain.varies.tolist() == other.varies.tolist() == [True, True, True, False]
    if isinstance(plain, Bins):
        varied = plain.tokens(plain(x))[:, :3], other.tokens(other(unit * x))[:, :3]
        assert (varied[0] == varied[1]).double().mean() > 0.99


def test_a_normaliser_sees_the_same_from_any_origin() -> None:
    x = torch.randn(200, 2, generator=rng())
    plain, other = Normaliser(2), Normaliser(2)
    plain.update(x)
    other.update(x + 1e4)
    torch.testing.assert_close(other(x + 1e4), plain(x), rtol=0, atol=2e-3)


def test_rounding_is_not_taken_for_variation() -> None:
    x = torch.tensor([[1.0, 0.0]]).repeat(50, 1)
    x[::2] = torch.tensor([[1 + 2**-23, 1e-16]])
    normaliser = Normaliser(2)
    normaliser.update(x)
    assert not normaliser.varies.any()
    assert normaliser.scale.tolist() == [1, 1]


def trained(model: dict[str, Any], change: Any, updates: int = 5) -> tuple[Agent, Batch]:
    """An agent after a few updates on windows of noise that were changed."""
    torch.manual_seed(0)
    config = AgentConfig.model_validate({**SMALL, "model": model})
    agent = Agent(config, EnvironmentSpec.vectors(3, 2))
    learner = agent.make_learner()
    batch = change(noise_batch(learner))
    learner.observe(batch.observation.flatten(0, 1))
    learner.observe_rewards(batch.reward.flatten(), batch.terminated.flatten() > 0)
    generator = rng(1)
    for _ in range(updates):
        learner.update(batch, generator)
    return agent, batch


@pytest.mark.parametrize("model", LEARNED)
@pytest.mark.parametrize("unit", [2.0**-27, 2.0**27])  # of which float32 rounds nothing
def test_what_is_learned_does_not_depend_on_the_unit(model: dict[str, Any], unit: float) -> None:
    def change(batch: Batch) -> Batch:
        return Batch(unit * batch.observation, *list(vars(batch).values())[1:])

    (plain, _), (other, _) = trained(model, same), trained(model, change)
    for p, q in zip(plain.heads.parameters(), other.heads.parameters(), strict=True):
        assert torch.equal(p, q)
    x = torch.randn(3, generator=rng(2)).numpy()
    np.testing.assert_array_equal(other.act(unit * x), plain.act(x))


@pytest.mark.parametrize("unit", [1e-8, 1e-5, 1e3, 1e8])
def test_rewards_are_learned_in_any_unit(unit: float) -> None:
    """A reward that is the first observation: its predictions follow it."""
    learner = make(3, 2, learning_rate=3e-3)
    generator = rng()
    for _ in range(300):
        batch = noise_batch(learner, 64)
        x = torch.randn(batch.observation.shape, generator=generator)
        reward = unit * x[:, :-1, 0]
        batch = Batch(x, batch.action, reward, 0 * reward, torch.ones_like(reward) > 0)
        learner.observe(x.flatten(0, 1))
        learner.observe_rewards(reward.flatten(), torch.zeros(1, dtype=torch.bool))
        learner.update(batch, generator)
    heads, x = learner.heads, torch.randn(200, 3, generator=generator)
    with torch.no_grad():
        h = learner.model.encode(x)
        f = learner.model.features(h, learner.model.initial_state(h))
        logits, _ = heads.outcomes(f, f[:, :0], torch.zeros(200, 2))
        predicted = heads.unit.value * heads.code.decode(logits)
    both = torch.stack([predicted, unit * x[:, 0]])
    assert torch.corrcoef(both)[0, 1] > 0.9
    assert predicted.std() == pytest.approx(unit, rel=0.4)


def test_the_unit_is_one_for_rewards_of_ordinary_size() -> None:
    unit = RewardUnit()
    for rewards in ([0.0, 0.0], [0.0, 1.0], [-100.0, 0.3], [1e-4] * 100):
        unit.update(torch.tensor(rewards))
        assert unit.value == 1


def test_the_unit_follows_small_and_large_rewards() -> None:
    small, large = RewardUnit(), RewardUnit()
    for _ in range(3):
        small.update(torch.tensor([0.0, -1e-6, 5e-7]))
        large.update(torch.tensor([0.0, -3e8, 1e8]))
    assert float(small.value) == pytest.approx(1e-6)
    assert float(large.value) == pytest.approx(2e8)
    small.update(torch.tensor([2e-5]))  # not so much that the heads must learn anew
    assert float(small.value) == pytest.approx(1e-6)
    small.update(torch.tensor([0.5]))
    assert small.value == 1
    again = RewardUnit()
    again.load_state_dict(large.state_dict())
    assert torch.equal(again.value, large.value)
    again.load_state_dict({})  # of a checkpoint from before there were units


@pytest.mark.parametrize("explain", [False, True])
def test_plans_predict_returns_in_the_unit_of_the_rewards(explain: bool) -> None:
    agent, _ = trained({"kind": "jepa", "embedding": 16, "width": 16, "simnorm_group": 4}, same)
    x, costs = torch.randn(2, 3, generator=rng(2)), []
    for unit in (1.0, 1e-6):
        agent.heads.unit.value.fill_(unit)
        actor = agent.actor("planner", explain=explain)
        action, _, plan = actor.act(x, actor.initial(2), agent.generator(0))
        assert plan is not None
        figures: list[Tensor] = [plan.cost, plan.spread]
        if plan.stats is not None and plan.items is not None:
            figures += [plan.stats.best, plan.stats.elite_mean, plan.items]
        costs.append((action, figures))
    assert torch.equal(costs[0][0], costs[1][0])
    for one, other in zip(costs[0][1], costs[1][1], strict=True):
        torch.testing.assert_close(other, 1e-6 * one)


def same(batch: Batch) -> Batch:
    return batch
