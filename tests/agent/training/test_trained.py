"""The agent of a run: evaluated, saved, and asked as the policies of Stable-Baselines3 are."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

import worldplan
from tests.helpers.commands import run
from tests.helpers.toy_envs import Levers, Point
from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.training.restore import make_agent
from worldplan.agent.training.trained import TrainedAgent
from worldplan.envs import given_env


@pytest.fixture
def agent(toy: dict[str, Any], small: list[str]) -> TrainedAgent:
    """It has learned nothing, which is enough to act."""
    return make_agent(resolve(toy, [*small, "planner=icem", "planner.keep=0.5"]))


class Copies:
    """Environments as Stable-Baselines3 steps them: each begins again by itself."""

    def __init__(self, *envs: gym.Env[Any, Any]) -> None:
        self.envs = envs

    def reset(self) -> Any:
        return np.stack([env.reset(seed=i)[0] for i, env in enumerate(self.envs)])

    def step(self, actions: Any) -> tuple[Any, Any, Any]:
        found = []
        for env, action in zip(self.envs, actions, strict=True):
            assert action in env.action_space
            seen, reward, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
            found.append((env.reset()[0] if done else seen, reward, done))
        seen, rewards, dones = zip(*found, strict=True)
        return np.stack(seen), np.array(rewards), np.array(dones)


def played(agent: Any, env: Copies, episodes: int) -> list[int]:
    """Lengths of episodes, played by the calls of SB3's `evaluate_policy`."""
    lengths: list[int] = []
    now = np.zeros(len(env.envs), int)
    observations, states = env.reset(), None
    starts = np.ones(len(env.envs), bool)
    while len(lengths) < episodes:
        actions, states = agent.predict(
            observations, state=states, episode_start=starts, deterministic=True
        )
        observations, _, starts = env.step(actions)
        now += 1
        lengths += now[starts].tolist()
        now[starts] = 0
    return lengths


def test_predict_is_called_as_policies_are(agent: TrainedAgent) -> None:
    lengths = played(agent, Copies(TimeLimit(Point(), 3), TimeLimit(Point(), 5)), 4)
    assert lengths == [3, 5, 3, 3]


def test_stable_baselines3_evaluates_the_agent(agent: TrainedAgent) -> None:
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    env = TimeLimit(Point(), 4)
    returns, lengths = evaluation.evaluate_policy(
        agent, env, n_eval_episodes=2, return_episode_rewards=True, warn=False
    )
    assert lengths == [4, 4]
    assert np.isfinite(returns).all()


def test_predict_remembers_and_begins_again(agent: TrainedAgent) -> None:
    x = np.array([[0.5, 0.0], [-0.5, 0.1]], np.float32)
    first, state = agent.predict(x)
    again, _ = agent.predict(x)
    np.testing.assert_array_equal(first, again)  # it depends on nothing else
    later, _ = agent.predict(x, state)
    begun, _ = agent.predict(x, state, episode_start=[True, False])
    assert (later[0] != begun[0]).any()
    np.testing.assert_array_equal(later[1], begun[1])
    one, _ = agent.predict(x[0])
    assert one.shape == (1,)
    with pytest.raises(ValueError, match="expected 2 observations as in the last call, got 1"):
        agent.predict(x[0], state)


def test_predict_explores_if_asked(agent: TrainedAgent) -> None:
    x = np.array([0.5, 0.0])
    noisy = [float(agent.predict(x, deterministic=False)[0][0]) for _ in range(2)]
    assert noisy[0] != noisy[1]
    agent.reset()
    acted = agent.act(x)
    agent.reset()
    agent.predict(x)  # leaves alone what `act` remembers
    np.testing.assert_array_equal(agent.act(x), acted)


def test_predict_gives_choices_as_the_environment_takes_them(small: list[str]) -> None:
    config = resolve({"task": "levers", "env": {"id": given_env(Levers).id}}, small)
    assert played(make_agent(config), Copies(Levers()), 1) == [12]


def test_evaluate_is_the_command(agent: TrainedAgent, tmp_path: Path) -> None:
    folder = agent.save(tmp_path / "saved")
    result = worldplan.load(folder).evaluate(episodes=2)
    run("evaluate", folder, "--episodes", 2, "--out", tmp_path / "e.json")
    said = json.loads((tmp_path / "e.json").read_text())
    assert result.seeds == held_out_seeds(2)
    assert said == {"task": "toy", "actor": "planner", **result.summary()}


def test_an_agent_is_evaluated_elsewhere(agent: TrainedAgent) -> None:
    result = agent.evaluate(lambda: TimeLimit(Point(), 4), episodes=3, actor="random")
    assert result.lengths.tolist() == [4, 4, 4]
    with pytest.raises(ValueError, match="observations of shape"):
        agent.evaluate("Pendulum-v1", episodes=1)
    with pytest.raises(ValueError, match="expected an actor of"):
        agent.evaluate(episodes=1, actor="polici")


def test_what_is_saved_is_loaded(agent: TrainedAgent, tmp_path: Path) -> None:
    x = np.array([0.5, 0.0])
    expected = agent.act(x)
    for _ in range(2):  # a second time into the same folder
        agent.save(tmp_path / "saved")
    found = worldplan.load(tmp_path / "saved")
    assert found.run == agent.run
    np.testing.assert_array_equal(found.act(x), expected)
    assert len(list((tmp_path / "saved" / "checkpoints").glob("step_*"))) == 1
    said = run("train", "--resume", tmp_path / "saved", code=1)
    assert "holds an agent alone" in said
    (tmp_path / "saved" / "replay").mkdir()
    with pytest.raises(FileExistsError, match="holds a training run"):
        agent.save(tmp_path / "saved")


def test_copies_know_the_run(agent: TrainedAgent) -> None:
    for other in (copy.deepcopy(agent), pickle.loads(pickle.dumps(agent))):
        assert type(other) is TrainedAgent
        assert other.run == agent.run
