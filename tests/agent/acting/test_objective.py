"""Plans for a goal or for a user's cost, in a world simple enough to know the best action."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.acting import initial, take
from worldplan.agent import Agent, AgentConfig
from worldplan.agent.learning.compiling import Execution
from worldplan.agent.models.jepa import JEPA
from worldplan.envs import EnvironmentSpec

SPEC = EnvironmentSpec.vectors(1, 1)


def walker(heads: bool = False, execution: Execution = Execution()) -> Agent:  # noqa: B008
    """Its world is x' = x + a, in one dimension, and the embedding is x: exactly."""

    class Walk(JEPA):
        def encode(self, x: Tensor) -> Tensor:
            return x

        def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
            return s + a

    torch.manual_seed(0)
    config = {
        "model": {"embedding": 1, "width": 8, "anti_collapse": "none"},
        "heads": {"width": 8, "bins": 5},
        "learner": {"task_heads": heads},
        "planner": {"kind": "cem", "horizon": 3, "samples": 128, "iterations": 4},
        "proposals": 0,
    }
    agent = Agent(AgentConfig.model_validate(config), SPEC, execution)
    agent.model = agent.controller.model = Walk(agent.model.config, SPEC)  # type: ignore[arg-type]
    return agent


def first(f: Tensor) -> Tensor:
    return f[..., :1]


def plan(agent: Agent, *places: float) -> Any:
    state = initial(agent, len(places))
    x = torch.tensor(places)[:, None]
    _, _, plan = take(agent, x, state, torch.Generator().manual_seed(0))
    assert plan is not None
    return plan


@pytest.mark.parametrize("goal", [3.0, -3.0, 0.5])
def test_the_planner_walks_to_the_goal(goal: float) -> None:
    agent = walker()
    agent.aim([goal])
    chosen = plan(agent, 0.0)
    expected = {3.0: [1, 1, 1], -3.0: [-1, -1, -1], 0.5: [0.5, 0, 0]}[goal]
    assert chosen.actions[0, :, 0].tolist() == pytest.approx(expected, abs=0.2)
    # The cost of the plan is the summed distance: 4 + 1 + 0 to a goal 3 away.
    assert float(chosen.cost) == pytest.approx({0.5: 0.0}.get(goal, 5.0), abs=0.2)


def test_each_plan_has_its_own_goal() -> None:
    agent = walker()
    agent.aim([[5.0], [-5.0], [0.0]])
    assert plan(agent, 0.0, 0.0, 0.0).action[:, 0].tolist() == pytest.approx([1, -1, 0], abs=0.1)
    agent.aim([1.0])  # one for all
    assert plan(agent, 0.0, 2.0).action[:, 0].tolist() == pytest.approx([1, -1], abs=0.1)


@pytest.mark.parametrize("wish", [3.0, -3.0])
def test_a_users_cost_of_decoded_observations_changes_the_plan(wish: float) -> None:
    agent = walker()
    seen = []

    def cost(x: Tensor) -> Tensor:
        seen.append(x.shape)
        return (x[..., 0] - 10 * wish).abs()

    agent.minimise(cost, lambda f: 10 * first(f))
    chosen = plan(agent, 0.0)
    assert chosen.actions[0, :, 0].tolist() == pytest.approx([np.sign(wish)] * 3, abs=0.1)
    assert float(chosen.cost) == pytest.approx(10 * (2 + 1 + 0), abs=2)
    assert seen[0] == (3, 128, 1)  # T, R, D: what is, is not part of the cost


def test_a_users_cost_of_the_wrong_shape_is_answered() -> None:
    agent = walker()
    agent.minimise(lambda x: x, first)
    with pytest.raises(ValueError, match=r"the cost must return \(T, R\) = \(3, 128\), not"):
        plan(agent, 0.0)


def test_the_last_objective_counts() -> None:
    agent = walker(heads=True)
    before = plan(agent, 0.0).actions
    agent.minimise(lambda x: x[..., 0], first)
    assert float(plan(agent, 0.0).action) < -0.9
    agent.aim([5.0])
    assert float(plan(agent, 0.0).action) > 0.9
    agent.minimise(lambda x: x[..., 0], first)
    assert float(plan(agent, 0.0).action) < -0.9
    agent.aim(None)
    assert torch.equal(plan(agent, 0.0).actions, before)


def test_an_agent_without_an_objective_says_so() -> None:
    agent = walker()
    with pytest.raises(ValueError, match=r"learned no reward has nothing to act for.*agent\.aim"):
        agent.act([0.0])
    agent.aim([1.0])
    agent.act([0.0])
    state, generator = initial(agent, 1), torch.Generator()
    with pytest.raises(ValueError, match="the policy of an agent that learned no reward"):
        take(agent, torch.zeros(1, 1), state, generator, actor="policy")
    agent.aim(None)
    take(agent, torch.zeros(1, 1), state, generator, actor="random")


def test_a_plan_for_a_goal_can_be_explained() -> None:
    agent = walker()
    agent.aim([3.0])
    state, x = initial(agent, 1), torch.zeros(1, 1)
    action, _, told = take(agent, x, state, torch.Generator().manual_seed(0), explain=True)
    assert told is not None
    assert told.stats is not None
    assert told.items is not None
    # Distances 4 + 1 + 0 to a goal 3 away, and nothing after.
    assert told.items[0, 0].tolist() == pytest.approx([4, 1, 0, 0], abs=0.2)
    assert torch.equal(action, plan(agent, 0.0).action)


def test_goals_are_checked() -> None:
    agent = walker()
    with pytest.raises(ValueError, match=r"shape \(1,\) or \(batch, 1\), got \(2,\)"):
        agent.aim([1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        agent.aim([np.nan])
    agent.aim([[1.0], [2.0]])
    with pytest.raises(ValueError, match="expected one goal, or one for each of 3, got 2"):
        plan(agent, 0.0, 0.0, 0.0)


def test_a_compiled_decision_takes_goals_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """One form for all goals; and none is made for a user's cost, which may be anything."""
    from torch._dynamo.testing import CompileCounter

    counter, compile_ = CompileCounter(), torch.compile

    def quick(function: Any, **settings: Any) -> Any:
        return compile_(function, backend=counter, dynamic=settings["dynamic"])

    monkeypatch.setattr(torch, "compile", quick)
    agent = walker(execution=Execution(compiled=True))
    for goal in (3.0, -3.0, 2.0):
        agent.aim([goal])
        assert float(plan(agent, 0.0).action) == pytest.approx(np.sign(goal), abs=0.1)
    assert counter.frame_count == 1

    def cost(x: Tensor) -> Tensor:
        return torch.tensor(x[..., 0].tolist())

    agent.minimise(cost, first)  # leaves torch: cannot be compiled whole
    assert float(plan(agent, 0.0).action) < -0.9
    assert counter.frame_count == 1
