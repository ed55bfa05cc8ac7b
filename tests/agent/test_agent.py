"""Acting: what goes in and comes out, and what it remembers."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.acting import initial, take
from worldplan.agent import Agent, AgentConfig
from worldplan.agent.data.batch import Batch
from worldplan.agent.models.world_model import LearnedModel
from worldplan.envs import EnvironmentSpec
from worldplan.planners import Plan


def outcome(made: Agent) -> nn.Linear:
    """The layer that reward and continue logit come from."""
    last = made.heads.outcome[-1]
    assert isinstance(last, nn.Linear)
    return last


def agent(**settings: Any) -> Agent:
    torch.manual_seed(0)
    small = {
        "model": {"embedding": 16, "width": 16, "simnorm_group": 4},
        "heads": {"width": 16, "bins": 21},
        "planner": {"kind": "mppi", "samples": 16, "elites": 4, "iterations": 2},
    }
    made = Agent(AgentConfig.model_validate(small | settings), EnvironmentSpec.vectors(3, 2))
    with torch.no_grad():  # an untrained value is 0 everywhere: give plans something to tell apart
        made.heads.value.weights[-1].normal_()
        outcome(made).weight.normal_()
    return made


def test_act_takes_one_observation_or_a_batch() -> None:
    a = agent()
    one = a.act(np.zeros(3))
    assert one.shape == (2,)
    assert one.dtype == np.float32
    a.reset()
    many = a.act(np.zeros((5, 3)))
    assert many.shape == (5, 2)
    assert (np.abs(many) <= 1).all()


@pytest.mark.parametrize(
    ("observation", "answer"),
    [
        (np.zeros(4), r"shape \(3,\) or \(batch, 3\), got \(4,\)"),
        (np.zeros((1, 1, 3)), "expected an observation of shape"),
        (np.full(3, np.nan), "finite"),
    ],
)
def test_act_answers_wrong_observations(observation: Any, answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        agent().act(observation)


def test_act_answers_another_batch_size() -> None:
    a = agent()
    a.act(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="call reset"):
        a.act(np.zeros((3, 3)))


def test_reset_starts_the_same_episode_again() -> None:
    a, x = agent(), np.ones(3)
    first = [a.act(x), a.act(x)]
    a.reset()
    again = [a.act(x), a.act(x)]
    np.testing.assert_array_equal(first, again)
    a.reset(seed=1)
    assert not np.array_equal(first[0], a.act(x))


def step(a: Agent, x: torch.Tensor, seed: int = 0, **how: Any) -> tuple[torch.Tensor, Plan | None]:
    generator = torch.Generator().manual_seed(seed)
    action, _, plan = take(a, x, initial(a, len(x)), generator, **how)
    return action, plan


def test_exploring_adds_noise_within_bounds() -> None:
    a, x = agent(), torch.ones(1, 3)
    still, plan = step(a, x)
    noisy, _ = step(a, x, explore=True)
    assert plan is not None
    torch.testing.assert_close(still, plan.action)
    assert not torch.equal(still, noisy)
    assert noisy.abs().max() <= 1


def test_a_plan_that_is_sure_is_explored_all_the_same() -> None:
    sure = {"kind": "cem", "min_std": 1e-3, "initial_std": 1e-3, "horizon": 2, "samples": 8}
    for least, expected in ((0.0, 1e-3), (0.2, 0.2)):
        planner = {**sure, "iterations": 1, "elites": 4}
        a = agent(noise_min_std=least, planner=planner, proposals=0)
        noisy, plan = step(a, torch.zeros(4000, 3), explore=True)
        assert plan is not None
        assert (noisy - plan.action).std() == pytest.approx(expected, rel=0.1)


def test_elites_are_executed_if_asked_for() -> None:
    planner = {"kind": "cem", "horizon": 2, "samples": 8, "iterations": 1, "elites": 4}
    a = agent(planner=planner)
    # The same candidates in all plans: what differs is which elite is drawn.
    noise, state = a.controller.draw_noise(1, a.generator(0)), initial(a, 1)
    for sample, expected in ((True, 4), (False, 1)):
        found = set()
        for select in torch.arange(0.05, 1, 0.1):
            drawn = replace(noise, plan=replace(noise.plan, select=select.view(1)))
            plan, _ = a.controller(torch.zeros(1, 3), state, drawn, explore=True, sample=sample)
            found.add(tuple(plan.action[0].tolist()))
        assert len(found) == expected


def test_exploration_noise_keeps_its_size_and_its_direction() -> None:
    state, generator = initial(agent(), 4000), torch.Generator().manual_seed(0)
    for _ in range(30):
        state = state.explore(0.8, generator)
    first = state.noise
    assert first.std() == pytest.approx(1, abs=0.03)
    for lag in range(1, 6):
        state = state.explore(0.8, generator)
        assert (first * state.noise).mean() == pytest.approx(0.8**lag, abs=0.05)
    white = state.explore(0.0, generator)
    assert (state.noise * white.noise).mean() == pytest.approx(0, abs=0.05)


def test_only_training_has_correlated_noise() -> None:
    a, x = agent(noise_correlation=0.95), torch.ones(2000, 3)
    for explore, expected in ((True, 0.95), (False, 0.0)):
        state, generator, actions = initial(a, 2000), torch.Generator().manual_seed(0), []
        for _ in range(40):
            action, state, _ = take(a, x, state, generator, "random", explore=explore)
            actions.append(action)
        found = torch.corrcoef(torch.stack([actions[-1][:, 0], actions[-2][:, 0]]))[0, 1]
        assert found == pytest.approx(expected, abs=0.05)
        # And each action is as likely as any other.
        share = torch.histc(actions[-1], 4, -1, 1) / actions[-1].numel()
        torch.testing.assert_close(share, torch.full((4,), 0.25), atol=0.03, rtol=0)


def test_actors() -> None:
    a, x = agent(), torch.ones(4, 3)
    policy, plan = step(a, x, actor="policy")
    assert plan is None
    # The policy's mode is not random: the same for equal observations.
    torch.testing.assert_close(policy, step(a, x, seed=1, actor="policy")[0])
    torch.testing.assert_close(policy[0], policy[1])
    random, _ = step(a, x, actor="random")
    assert not torch.equal(random[0], random[1])
    assert not torch.equal(random, step(a, x, seed=1, actor="random")[0])


def test_proposals_of_the_policy_join_the_search() -> None:
    with_policy, without = agent(proposals=8), agent(proposals=0)
    without.heads.load_state_dict(with_policy.heads.state_dict())
    without.model.load_state_dict(with_policy.model.state_dict())
    x = torch.ones(1, 3)
    assert not torch.equal(step(with_policy, x)[0], step(without, x)[0])


def test_without_the_action_variable_all_plans_cost_the_same() -> None:
    def costs(**model: Any) -> torch.Tensor:
        a = agent(model={"embedding": 16, "width": 16, "simnorm_group": 4, **model})
        generator = torch.Generator().manual_seed(0)
        h, s = initial(a, 64).filter(
            a.model, torch.randn(64, 3, generator=generator)[:1].expand(64, 3)
        )
        plans = torch.randn(3, 64, 2, generator=generator)
        return a.controller.score(h, s, plans, torch.zeros(3, 64, 0))

    blind, seeing = costs(action=False), costs(action=True)
    assert (blind == blind[0]).all()
    assert (seeing != seeing[0]).any()


def test_a_reset_forgets_one_environment_only() -> None:
    a = agent(model={"embedding": 16, "width": 16, "simnorm_group": 4, "context": 3})
    generator = torch.Generator().manual_seed(0)
    state = initial(a, 2)
    for _ in range(3):
        _, state, _ = take(a, torch.randn(2, 3, generator=generator), state, generator)
    assert state.valid.all()
    forgotten = state.begin(torch.tensor([True, False]))
    assert not forgotten.valid[0].any()
    assert forgotten.valid[1].all()
    x = torch.ones(2, 3)
    fresh = initial(a, 2).filter(a.model, x)[1]
    torch.testing.assert_close(forgotten.filter(a.model, x)[1][0], fresh[0])
    assert not torch.equal(forgotten.filter(a.model, x)[1][1], fresh[1])


def test_the_discount_inside_the_plan_is_the_chance_to_go_on() -> None:
    """A plan's value falls to its first reward where the model says the episode ends."""
    a, x = agent(proposals=0), torch.ones(1, 3)
    h = a.model.encode(x)
    rows = (h, a.model.initial_state(h), torch.zeros(3, 1, 2), torch.zeros(3, 1, 0))
    with torch.no_grad():
        outcome(a).bias[-1], outcome(a).weight[-1] = 50.0, 0.0
        lasting = a.controller.score(*rows)
        outcome(a).bias[-1] = -50.0
        ending = a.controller.score(*rows)
        reward, _ = a.heads.outcomes(h, h[:, :0], torch.zeros(1, 2))
    torch.testing.assert_close(ending, a.heads.code.decode(reward), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(lasting, ending)


def test_an_explained_plan_is_the_same_and_promises_step_by_step() -> None:
    latent = {"kind": "gaussian", "dim": 2}
    a = agent(
        model={"embedding": 16, "width": 16, "simnorm_group": 4, "latent": latent},
        planner={"kind": "mppi", "samples": 16, "elites": 4, "iterations": 2, "latent_samples": 5},
    )
    x = torch.ones(3, 3)
    (quiet, short), (action, plan) = step(a, x), step(a, x, explain=True)
    assert short is not None
    assert plan is not None
    assert torch.equal(quiet, action)
    assert short.items is None
    assert short.stats is None
    assert plan.stats is not None
    assert plan.items is not None
    assert plan.items.shape == (3, 5, a.controller.planner.config.horizon + 1)
    torch.testing.assert_close(plan.items.sum(2).mean(1), plan.cost)
    torch.testing.assert_close(plan.items.sum(2).std(1, correction=0), plan.spread)


def test_acting_weights_follow_the_trained_ones() -> None:
    a, generator = agent(ema_rate=0.25), torch.Generator().manual_seed(0)
    learner = a.make_learner()
    shape = (8, 3)
    batch = Batch(
        torch.randn(8, 4, 3, generator=generator),
        2 * torch.rand(*shape, 2, generator=generator) - 1,
        torch.rand(shape, generator=generator),
        torch.zeros(shape),
        torch.ones(shape, dtype=torch.bool),
    )
    before = [p.clone() for p in a.model.parameters()]
    learner.updates = 1000
    learner.update(batch, generator)
    trained = list(learner.model.parameters())
    assert not torch.equal(before[0], trained[0])
    for old, acting, new in zip(before, a.model.parameters(), trained, strict=True):
        torch.testing.assert_close(acting, 0.75 * old + 0.25 * new)
    # Early on they follow faster: the first update is taken over whole.
    learner.updates = 0
    learner.update(batch, generator)
    for acting, new in zip(a.model.parameters(), trained, strict=True):
        torch.testing.assert_close(acting, new)
    assert learner.model.normaliser is a.model.normaliser
    # No graph of how they came about, which would grow with every update.
    assert all(p.is_leaf and not p.requires_grad for p in a.model.parameters())


def test_acting_weights_can_be_the_trained_ones() -> None:
    a = agent(ema_rate=1.0)
    learner = a.make_learner()
    assert learner.model is a.model
    assert learner.heads is a.heads


def test_what_acts_can_be_sent_to_another_process() -> None:
    """Pickled, it acts the same, keeps its goal, and brings no optimiser."""
    a, x = agent(), np.ones(3)
    assert isinstance(a.model, LearnedModel)
    a.model.observe(torch.randn(50, 3))
    a.aim([3.0, 2.0, 1.0])
    sent = pickle.dumps(a)
    assert b"optim" not in sent
    there = pickle.loads(sent)
    np.testing.assert_array_equal(a.act(x), there.act(x))
    a.aim(None)
    a.reset()
    there.reset()
    assert not np.array_equal(a.act(x), there.act(x))


def test_a_goal_is_copied() -> None:
    a, goal = agent(), np.ones(3, np.float32)
    a.aim(goal)
    goal[:] = 7
    assert a.controller.goal is not None
    assert a.controller.goal.tolist() == [[1, 1, 1]]


def test_an_unknown_actor_is_answered() -> None:
    with pytest.raises(ValueError, match="planner, policy, random, zero, got 'lazy'"):
        agent().actor("lazy")
