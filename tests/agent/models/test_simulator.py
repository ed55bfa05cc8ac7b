"""The simulator as a world model: scores of plans, and how runs use it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.helpers.acting import initial, take
from worldplan.agent import Agent, AgentConfig
from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.evaluate import evaluate
from worldplan.agent.learning.compiling import Execution
from worldplan.agent.training.restore import make_agent
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvConfig, EnvironmentSpec, Simulator, make_env, make_vector

PENDULUM = EnvConfig(id="InvertedPendulum-v5", observe="state")
BASE = {"task": "pendulum", "env": {"id": PENDULUM.id}, "solved": 30.0}
# Small actions: with large ones the pole falls after about ten steps.
SEARCH = {"samples": 32, "elites": 4, "horizon": 10, "initial_std": 0.3}
SETTINGS = ["model.kind=simulator", "model.threads=1", "compile=off", "threads=1"]


def agent(execution: Execution = Execution(), **settings: Any) -> Agent:  # noqa: B008 (frozen)
    model = {"kind": "simulator", "threads": 1}
    config = AgentConfig.model_validate({"model": model, "proposals": 0, **settings})
    return Agent(config, Simulator(PENDULUM, threads=1).spec, execution)


def states(number: int) -> torch.Tensor:
    env = make_env(PENDULUM)
    return torch.from_numpy(np.stack([env.reset(seed=seed)[0] for seed in range(number)]))


def test_the_score_of_a_plan_is_its_discounted_return_until_the_pole_falls() -> None:
    """The reward is 1 per step until the environment terminates, and 0 after that."""
    made, x = agent(discount=0.9), states(2)
    actions = torch.stack([torch.ones(60, 1), torch.zeros(60, 1)], 1)
    score = made.controller.score(x, x, actions, torch.zeros(60, 2, 0))
    env: Any = make_env(PENDULUM)
    for row in range(2):
        env.reset(seed=row)
        total = 0.0
        for t, action in enumerate(actions[:, row].numpy()):
            _, reward, terminated, _, _ = env.step(action)
            total += 0.9**t * reward
            if terminated:
                break
        assert terminated or row == 1
        torch.testing.assert_close(float(score[row]), total, rtol=1e-5, atol=1e-5)


def test_random_events_are_a_function_of_z() -> None:
    """Straight over the bridge of Gusts: the goal after six decisions, or a fall in the fourth."""
    env = EnvConfig(id="worldplan/Gusts-v0", kwargs={"start": 0.0, "gust": 0.2}, observe="state")
    model = {"kind": "simulator", "threads": 1}
    config = AgentConfig.model_validate({"model": model, "proposals": 0, "discount": 0.9})
    made = Agent(config, Simulator(env, threads=1).spec)
    x = torch.from_numpy(make_env(env).reset(seed=0)[0]).expand(3, -1)
    noise = torch.zeros(8, 3, 1)
    noise[3, :2, 0] = torch.special.ndtri(torch.tensor([0.19, 0.21]))
    noise[2, 2] = noise[4, 2] = -3  # not on the bridge, or not its first decision there
    score = made.controller.score(x, x, torch.zeros(8, 3, 1), noise)
    cost = [0.15 * sum(0.9**k for k in range(n)) for n in (4, 6)]
    torch.testing.assert_close(
        score, torch.tensor([-cost[0], 1.75 * 0.9**5 - cost[1], 1.75 * 0.9**5 - cost[1]])
    )


def test_a_rollout_equals_single_predictions() -> None:
    made, x = agent(), states(3)
    actions = torch.rand(3, 4, 1, generator=torch.Generator().manual_seed(0)) - 0.5
    s = x
    for t in range(4):
        s = made.model.predict(s, s, s[:, :0], actions[:, t])
    at_once = Simulator(PENDULUM, threads=1).rollout(x.numpy(), actions.numpy())
    np.testing.assert_allclose(s.numpy(), at_once.states[:, -1], atol=1e-5)


@pytest.mark.parametrize("kind", ["mppi", "cem", "icem"])
def test_iterative_planners_balance_the_pole(kind: str) -> None:
    """For 60 steps. With random actions it falls."""
    made, env = agent(planner={"kind": kind, **SEARCH}), make_env(PENDULUM)
    for actor, lasts in (("planner", True), ("random", False)):
        x, _ = env.reset(seed=3)
        state, generator = initial(made, 1), torch.Generator().manual_seed(0)
        for _ in range(60):
            seen = torch.from_numpy(x)[None]
            action, state, _ = take(made, seen, state, generator, actor)
            x, _, terminated, _, _ = env.step(action[0].numpy())
            if terminated:
                break
        assert terminated != lasts


def test_planning_from_an_unstable_state_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes MUJOCO_LOG.TXT to the working directory
    made, x = agent(), states(1)
    x[0, 1 + 2] = 1e12
    with pytest.raises(FloatingPointError):
        take(made, x, initial(made, 1), torch.Generator())


def test_methods_that_need_learning_raise() -> None:
    made = agent()
    assert not made.learns
    assert not list(made.model.parameters())
    for act in (
        made.make_learner,
        lambda: made.heads,
        lambda: made.actor("policy"),
    ):
        with pytest.raises(ValueError, match=r"model\.kind=simulator learns nothing"):
            act()


def test_compiling_does_not_change_its_plans() -> None:
    """The simulator cannot be compiled; with compiling on, the plans are the same."""
    x = states(1)
    plain, compiled = agent(), agent(Execution(compiled=True))
    np.testing.assert_array_equal(plain.act(x.numpy()), compiled.act(x.numpy()))


def test_the_family_sets_defaults_of_the_run() -> None:
    run = resolve(BASE, ["model=simulator", "planner=icem", "steps=700"])
    assert (run.env.observe, run.agent.proposals) == ("state", 0)
    planner = run.agent.planner
    assert (planner.kind, planner.horizon, planner.elites, planner.keep) == ("icem", 50, 4, 0.5)
    run = resolve(BASE, ["model.kind=simulator", "planner.horizon=7"])
    assert run.agent.planner.horizon == 7
    run = resolve(BASE, ["steps=700"])
    assert (run.env.observe, run.agent.planner.horizon) == ("observation", 3)
    # They override those of a preset, and the user's settings override them.
    preset = {**BASE, "agent": {"planner": {"kind": "icem", "horizon": 8, "beta": 3.0}}}
    run = resolve(preset, ["model.kind=simulator"])
    assert (run.agent.planner.kind, run.agent.planner.horizon) == ("icem", 50)
    assert run.agent.planner.model_dump()["beta"] == 3.0


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("planner.kind=gradient", "not differentiable; expected one of cem, icem, mppi"),
        ("agent.proposals=4", r"expected agent\.proposals=0, got 4"),
        ("env.observe=observation", r"expected env\.observe=state, got observation"),
        ("model.width=3", "unknown key 'agent.model.width'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(setting: str, answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        resolve(BASE, ["model.kind=simulator", setting])


def test_it_needs_the_config_of_the_environment() -> None:
    config = AgentConfig.model_validate({"model": "simulator"})
    with pytest.raises(ValueError, match="needs to know the environment"):
        Agent(config, EnvironmentSpec.vectors(5, 1))


def test_it_is_evaluated_and_never_trained(tmp_path: Path) -> None:
    small = ["steps=40", "env.kwargs.max_episode_steps=30"]
    search = [f"planner.{name}={value}" for name, value in SEARCH.items()]
    run = resolve(BASE, [*SETTINGS, *small, *search])
    with pytest.raises(ValueError, match=r"learns nothing; expected: worldplan evaluate pendulum"):
        Trainer(run, tmp_path, Console(quiet=True))
    made, env = make_agent(run), make_vector(run.env, 1)
    result = evaluate(made, env, held_out_seeds(1))
    assert result.returns.tolist() == [30.0]


def test_it_plans_for_goals() -> None:
    """With a goal far to the right it pushes the cart to the right."""
    made, x = agent(planner={"kind": "cem", **SEARCH}), states(1)
    goal, pushes = x[0].numpy().copy(), []
    for side in (30.0, -30.0):
        goal[1] = side
        made.aim(goal)
        made.reset()
        pushes.append(float(made.act(x[0].numpy())[0]))
    assert pushes[0] > pushes[1] + 0.1
