"""Kinds of training episodes: cut ones, those without exploration, those that execute elites."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.helpers.acting import initial, take
from tests.helpers.acting_agents import agent
from worldplan.agent.acting.agentless import UniformActor
from worldplan.agent.acting.rollout import Step, rollout
from worldplan.agent.acting.spaces import action_space
from worldplan.agent.agent import Agent
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.run import RunConfig
from worldplan.agent.training.collectors.player import longest_episode
from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvConfig, VectorEnv, make_vector

BATCH = "simulators.batched_envs:ToyBatch-v0"


def steps(env: VectorEnv, longest: int | None, decisions: int = 60) -> list[Step]:
    actor = UniformActor(action_space(env.spec.action))
    generator = torch.Generator().manual_seed(0)
    events = rollout(actor, env, itertools.count(), generator, again=True, longest=longest)
    found = (event for event in events if isinstance(event, Step))
    return list(itertools.islice(found, decisions))


@pytest.mark.parametrize("own", [4, 9])  # the environment's own limit, below it and above
def test_an_episode_is_cut_where_it_has_not_ended_before(own: int) -> None:
    env = make_vector(EnvConfig(id="toy_envs:ToyPoint-v0", kwargs={"limit": own}), 3)
    lengths, length = [], np.zeros(3, int)
    for step in steps(env, 6):
        length += step.active
        lengths += length[step.done].tolist()
        assert (step.truncated | step.terminated)[length >= 6].all()
        assert not (step.truncated & step.terminated & (length == 6)).any()
        length[step.done] = 0
    assert max(lengths) == min(own, 6)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_what_resets_itself_cannot_be_cut_unless_it_is_alone(mode: str) -> None:
    config = EnvConfig(id=BATCH, kwargs={"mode": mode}, batched=True)
    run = RunConfig(task="t", env=config, train_max_steps=3)
    cut = longest_episode(run, make_vector(config, 1))
    played = steps(make_vector(config, 1), cut)
    assert np.flatnonzero([step.done[0] for step in played]).tolist() == list(range(2, 60, 3))
    with pytest.raises(ValueError, match=r"expected train_max_steps=null .* got 3"):
        longest_episode(run, make_vector(config, 3))


def test_a_batch_that_is_reset_by_hand_is_cut() -> None:
    env = make_vector(EnvConfig(id=BATCH, kwargs={"mode": "Disabled"}), 3)
    cut = [step.truncated for step in steps(env, 3)]
    assert np.flatnonzero(np.all(cut, 1)).tolist() == list(range(2, 60, 3))


def test_a_run_learns_from_short_episodes_and_is_judged_by_whole_ones(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    settings = [*small, "train_max_steps=7", "eval_interval=60"]
    trainer = Trainer(resolve(toy, settings), tmp_path, Console(quiet=True))
    trainer.run()
    lengths = [row["length"] for row in read_curve(tmp_path / "episodes.csv")]
    assert max(lengths) == 7
    assert sum(lengths) <= trainer.step == 120
    # The point falls or plays for 25 decisions.
    assert max(row["length"] for row in read_curve(tmp_path / "curve.csv")) > 7


def test_a_share_of_episodes_explores_nothing() -> None:
    """It is drawn as the first environment begins, and holds to the end of its episode."""
    a, x = agent(choose="mean"), torch.zeros(20, 3)
    a = Agent(a.config.model_copy(update={"greedy_episodes": 0.3}), a.spec)
    state, generator = initial(a, 20), torch.Generator().manual_seed(0)
    first = torch.arange(20) == 0
    found = []
    for _ in range(40):
        state = state.begin(first)
        for _ in range(2):  # decisions of one episode
            action, state, plan = take(a, x, state, generator, explore=True)
            assert plan is not None
            assert torch.equal(action, plan.action) == state.greedy
            found.append(state.greedy)
        state = state.begin(~first)  # others' episodes draw nothing
    assert found[::2] == found[1::2]
    assert sum(found) / len(found) == pytest.approx(0.3, abs=0.15)


def test_a_share_of_those_that_explore_executes_elites() -> None:
    """The others execute the mean of the search, and so do evaluations."""
    a, x = agent(choose="mean"), torch.zeros(20, 3)
    a = Agent(a.config.model_copy(update={"sample_elite": 0.4}), a.spec)
    state, generator = initial(a, 20), torch.Generator().manual_seed(0)
    found = []
    for _ in range(40):
        state = state.begin(torch.ones(20, dtype=torch.bool))
        for _ in range(2):  # decisions of one episode
            _, state, plan = take(a, x, state, generator, explore=True)
            assert plan is not None
            assert torch.equal(plan.action, state.plan.mean[:, 0]) != state.elites
            found.append(state.elites)
    assert found[::2] == found[1::2]
    assert sum(found) / len(found) == pytest.approx(0.4, abs=0.15)
    _, after, plan = take(a, x, replace(state, elites=True), generator)
    assert plan is not None
    assert torch.equal(plan.action, after.plan.mean[:, 0])


def test_no_elite_is_executed_once_an_episode_has_terminated() -> None:
    a, x = agent(choose="mean"), torch.zeros(2, 3)
    a = Agent(a.config.model_copy(update={"sample_elite": 1.0}), a.spec)
    learner, reward = a.make_learner(), torch.ones(2)
    state, generator = initial(a, 2), torch.Generator().manual_seed(0)
    for terminated, expected in ((False, True), (True, False), (False, False)):
        _, state, _ = take(a, x, state, generator, explore=True)
        kind = state.elites
        learner.observe_rewards(reward, torch.tensor([False, terminated]))
        _, state, _ = take(a, x, state, generator, explore=True)
        assert state.elites == kind  # an episode is of one
        _, state, _ = take(a, x, state.begin(torch.ones(2) > 0), generator, explore=True)
        assert state.elites == expected
    assert bool(a.weights()["heads.unit.ended"])  # a resumed run knows


def test_a_greedy_episode_is_played_as_an_evaluation() -> None:
    a = agent()
    a = Agent(a.config.model_copy(update={"greedy_episodes": 1.0, "shortfall": 0.1}), a.spec)
    explored, judged = initial(a, 3), initial(a, 3)
    one, other = (torch.Generator().manual_seed(1) for _ in range(2))
    for x in torch.randn(4, 3, 3):
        action, explored, _ = take(a, x, explored, one, explore=True)
        expected, judged, _ = take(a, x, judged, other)
        torch.testing.assert_close(action, expected, rtol=0, atol=0)
        assert torch.equal(explored.promise.rest, judged.promise.rest)
        other.set_state(one.get_state())  # of the draw


def test_where_all_explore_nothing_is_drawn_for_it() -> None:
    """So that runs from before there was a setting are made again bit for bit."""
    state, generator = initial(agent(), 5), torch.Generator().manual_seed(0)
    before = generator.get_state()
    for share in (0.0, 1.0):
        drawn = state.draw_kind(share, share, generator)
        assert drawn.greedy == drawn.elites == bool(share)
    assert torch.equal(before, generator.get_state())
