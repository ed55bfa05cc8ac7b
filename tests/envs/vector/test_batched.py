"""Environments that step as one batch, in each way of resetting themselves."""

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from tests.helpers.simulators.batched_envs import Pendulums
from tests.helpers.toy_envs import Point
from worldplan.agent.acting.agentless import UniformActor
from worldplan.agent.acting.rollout import Reset, rollout
from worldplan.agent.acting.spaces import action_space
from worldplan.envs import (
    EnvConfig,
    EnvironmentFault,
    VectorEnv,
    adapt_vector,
    make_env,
    make_vector,
)

MODES = [mode.value for mode in AutoresetMode]
ID = "simulators.batched_envs:ToyBatch-v0"


def played(env: VectorEnv, decisions: int, *, again: bool) -> list[Any]:
    actor = UniformActor(action_space(env.spec.action))
    events = rollout(actor, env, itertools.count(), torch.Generator().manual_seed(0), again=again)
    return list(itertools.islice(events, decisions))


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_no_transition_leads_from_one_episode_to_the_next(mode: str, parts: bool) -> None:
    env = make_vector(EnvConfig(id=ID, kwargs={"mode": mode, "parts": parts}), 3)
    at = slice(0, 2) if parts else slice(3, 5)  # steps and name of the episode
    lengths: list[list[int]] = [[], [], []]
    before, under_way = np.zeros((3, 2)), np.zeros(3, np.bool_)
    for event in played(env, 60, again=True):
        now = event.observation[:, at]
        if isinstance(event, Reset):
            assert not under_way[event.mask].any()
            assert (now[event.mask, 0] == 0).all(), "an episode begins at its beginning"
            under_way |= event.mask
        else:
            assert event.active.any()
            assert under_way[event.active].all()
            expected = before + np.outer(event.active, [1, 0])
            assert np.array_equal(now, expected), "a step of the same episode"
            for i in np.flatnonzero(event.done).tolist():
                lengths[i].append(int(now[i, 0]))
            under_way &= ~event.done
        before = now
    for i, found in enumerate(lengths):
        assert len(found) > 3
        assert max(found) == 5 + i, "the last observation is that of the time limit"


@pytest.mark.parametrize("mode", AutoresetMode)
def test_gymnasiums_own_plays_the_same_episodes_as_single_ones(mode: AutoresetMode) -> None:
    makers = [lambda limit=limit: Point(limit) for limit in (3, 5, 8)]
    batch: Any = gym.vector.SyncVectorEnv(makers, autoreset_mode=mode)
    env = adapt_vector(batch)
    steps = [event for event in played(env, 20, again=False) if not isinstance(event, Reset)]
    lengths = []
    for i in range(3):
        single, over = Point((3, 5, 8)[i]), [False, False]
        seen, _ = single.reset(seed=i)
        for event in steps:
            if not any(over):
                assert event.active[i]
                seen, reward, *over, _ = single.step(event.action[i])
                assert event.reward[i] == np.float32(reward)
                assert [event.terminated[i], event.truncated[i]] == over
            assert np.array_equal(event.observation[i], seen), "the last one is kept"
        lengths.append(sum(event.active[i] for event in steps))
        assert lengths[i] == single.t
    assert lengths[0] < lengths[1]


def test_one_of_them_is_an_environment_too() -> None:
    for mode in MODES:
        env = make_env(EnvConfig(id=ID, kwargs={"mode": mode}))
        first, _ = env.reset(seed=3)
        again = make_vector(EnvConfig(id=ID, kwargs={"mode": mode}), 1)
        assert np.array_equal(again.reset([3])[0], first)
        for step in range(1, 6):
            seen, _, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
            assert seen[3] == step
            if terminated or truncated:
                break
        assert terminated or (truncated and step == 5)


def test_a_task_may_have_both_forms() -> None:
    single, batch = (make_vector(EnvConfig(id="CartPole-v1", batched=b), 2) for b in (False, True))
    assert type(single) is not type(batch)
    assert batch.spec.action == single.spec.action
    assert batch.max_episode_steps == single.max_episode_steps == 500
    lengths = {type(event) for event in played(batch, 50, again=True)}
    assert len(lengths) == 2
    with pytest.raises(ValueError, match=r"Pendulum-v1' cannot be made: .*vector entry point"):
        make_vector(EnvConfig(id="Pendulum-v1", batched=True), 2)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no env\.action_repeat, .* got 2"):
        make_vector(EnvConfig(id=ID, action_repeat=2), 2)
    with pytest.raises(ValueError, match=r"no env\.workers"):
        make_vector(EnvConfig(id=ID, workers=2), 2)
    silent = Pendulums(2)
    silent.metadata = {}
    with pytest.raises(ValueError, match=r"expected metadata\['autoreset_mode'\] .* got None"):
        adapt_vector(silent)
    env = make_vector(EnvConfig(id=ID, kwargs={"nan_at": 3}), 2)
    zero = np.zeros((2, 1), np.float32)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(zero)
    env.reset([0, 0])
    with pytest.raises(ValueError, match=r"expected as actions numbers in \[-1, 1\]"):
        env.step(zero + 2)
    with pytest.raises(ValueError, match="whose episode has ended"):
        env.reset([0, 0], np.array([True, False]))
    env.step(zero)
    env.step(zero)
    with pytest.raises(EnvironmentFault, match="environment 0 of the batch: the observation"):
        env.step(zero)
