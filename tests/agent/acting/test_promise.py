"""The policy acts where plans do not keep what they promise, and nowhere else."""

import pytest
import torch
from torch import Tensor

from tests.helpers.acting import initial, take
from worldplan.agent import Agent, AgentConfig
from worldplan.agent.acting.objective import LearnedReturn
from worldplan.agent.acting.promise import Promise
from worldplan.agent.models.jepa import JEPA
from worldplan.agent.models.world_model import ImaginedTrajectory
from worldplan.envs import EnvironmentSpec

SPEC = EnvironmentSpec.vectors(1, 1)


def test_what_is_owed_is_summed_until_the_policy_has_its_turn() -> None:
    fresh, limit = torch.tensor([False, False, True]), torch.tensor(4.0)
    promise = Promise(torch.full((3,), 10.0), torch.full((3,), 2.0), torch.zeros(3))
    score = torch.tensor([8.0, 10.0, 0.0])
    heard = promise.hear(score, fresh, 0.9, limit, turn=2)
    assert heard.owed.tolist() == pytest.approx([3.6, 1.8, 0])  # 0.9 (2 + 10 - score)
    assert heard.turn.tolist() == [0, 0, 0]
    turns, owed = [], []
    for _ in range(6):
        heard = heard.hear(score, torch.zeros_like(fresh), 0.9, limit, turn=2)
        turns.append(heard.turn[0].item())
        owed.append(heard.owed[0].item())
    # 0.9 (3.6 + 2) = 5.04 is too much; two decisions are the policy's; then it begins at 0 again.
    assert turns == [2, 1, 0, 0, 0, 2]
    assert owed == pytest.approx([0, 0, 0, 1.8, 3.42, 0])


class Walk(JEPA):
    """Its world is x' = x + a, in one dimension, and the embedding is x: exactly."""

    def encode(self, x: Tensor) -> Tensor:
        return x

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        return s + a


class Place(LearnedReturn):
    """No rewards, and a value that is the place."""

    def _outlook(self, imagined: ImaginedTrajectory) -> tuple[Tensor, Tensor, Tensor]:
        reward = torch.zeros_like(imagined.features[1:, :, 0])
        return reward, torch.ones_like(reward), imagined.features[-1, :, 0]


def walker(shortfall: float) -> Agent:
    torch.manual_seed(0)
    config = {
        "model": {"embedding": 1, "width": 8, "anti_collapse": "none"},
        "heads": {"width": 8, "bins": 5},
        "planner": {"kind": "cem", "horizon": 3, "samples": 64, "choose": "best"},
        "proposals": 0,
        "discount": 0.9,
        "shortfall": shortfall,
        "policy_turn": 2,
    }
    agent = Agent(AgentConfig.model_validate(config), SPEC)
    agent.model = agent.controller.model = Walk(agent.model.config, SPEC)  # type: ignore[arg-type]
    agent.controller.default = Place(agent.heads, 0.9)
    return agent


def walked(agent: Agent, moves: bool, steps: int = 12) -> list[float]:
    """Actions, in a world that is as the model says, or one in which nothing moves."""
    state, generator, x = initial(agent, 1), torch.Generator().manual_seed(0), torch.zeros(1, 1)
    found = []
    for _ in range(steps):
        action, state, _ = take(agent, x, state, generator)
        found.append(action.item())
        x = x + action if moves else x
    return found


def test_the_policy_acts_where_nothing_moves() -> None:
    # Each plan scores 0.9³ · 3 = 2.19, and says that 0.9² · 3 = 2.43 will be left: 0.243 is owed
    # at each decision, of a spread of 1: 0.219, 0.416, 0.593, 0.752 after discounts.
    found = walked(walker(0.5), moves=False)
    policy = [i for i, action in enumerate(found) if action == 0]  # an untrained policy's mode
    assert policy == [3, 4, 8, 9]
    assert min(a for i, a in enumerate(found) if i not in policy) > 0.8


def test_the_plan_acts_where_it_is_right_or_nobody_asks() -> None:
    assert min(walked(walker(0.5), moves=True)) > 0.8
    assert min(walked(walker(0.0), moves=False)) > 0.8


def test_plans_that_explore_promise_nothing() -> None:
    agent = walker(0.01)
    state, generator, x = initial(agent, 1), torch.Generator().manual_seed(0), torch.zeros(1, 1)
    for _ in range(5):
        _, state, _ = take(agent, x, state, generator, explore=True)
    promise = state.promise
    assert [u.item() for u in (promise.rest, promise.owed, promise.turn)] == [0, 0, 0]


def test_a_goal_is_not_the_policys() -> None:
    agent = walker(0.5)
    agent.aim([3.0])
    assert min(walked(agent, moves=False)) > 0.8


def test_an_episode_begins_with_nothing_owed() -> None:
    agent = walker(0.5)
    state, generator, x = initial(agent, 2), torch.Generator().manual_seed(0), torch.zeros(2, 1)
    for _ in range(3):
        _, state, _ = take(agent, x, state, generator)
    state = state.begin(torch.tensor([True, False]))
    action, state, _ = take(agent, x, state, generator)
    assert action[0].item() > 0.8
    assert action[1].item() == 0
    assert state.promise.owed[0].item() == 0
    assert state.promise.turn.tolist() == [0, 2]
