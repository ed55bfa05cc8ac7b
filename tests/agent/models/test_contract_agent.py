"""An agent with every family of world models."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.acting import initial, take
from tests.helpers.contract_cases import Case, every, some
from tests.helpers.small_models import rng
from worldplan.agent.acting.imagination import side_by_side
from worldplan.agent.agent import AgentConfig
from worldplan.agent.evaluation.diagnostics import diagnose
from worldplan.agent.learning.compiling import prepare
from worldplan.agent.training import checkpoint

# The agent


@pytest.mark.parametrize("planner", ["mppi", "cem", "gradient"])
@every
def test_planners_plan_with_every_model(case: Case, planner: str) -> None:
    smooth = case.differentiable and case.uses_action and case.choices is None
    if planner == "gradient" and not smooth:
        pytest.skip("not differentiable in actions")
    settings = {"kind": planner, "samples": 12, "iterations": 2, "latent_samples": 3}
    agent = case.make(planner={**settings, "horizon": 2, "elites": 4})
    x = case.x(2)
    action, state, plan = take(agent, x, initial(agent, 2), rng())
    again, _, _ = take(agent, x, initial(agent, 2), rng())
    assert torch.equal(action, again)
    assert action.shape == (2, case.action_dim)
    assert agent.spec.action.valid(action.numpy()).all()
    assert plan is not None
    assert torch.isfinite(plan.cost).all()
    action, _, _ = take(agent, case.x(2, seed=6), state, rng())
    assert torch.isfinite(action).all()


@some("learns")
def test_weights_are_restored_from_a_checkpoint(case: Case, tmp_path: Path) -> None:
    """Another agent that loads them acts in the same way."""
    one, other, x = case.make(0), case.make(1), case.x(3).numpy()
    one.make_learner().update(case.batch(one), rng())
    before = one.act(x)
    # Without actions all plans cost the same under any weights.
    assert np.array_equal(before, other.act(x)) == (not case.uses_action)
    path = checkpoint.save(tmp_path, 1, one.weights(), {})
    other.load_weights(checkpoint.read(path)[0])
    one.reset()
    other.reset()
    np.testing.assert_array_equal(before, one.act(x))
    np.testing.assert_array_equal(before, other.act(x))


@every
def test_the_config_is_restored_from_json(case: Case) -> None:
    config = case.make().config
    assert AgentConfig.model_validate_json(config.model_dump_json()) == config


@every
def test_actions_have_an_effect_exactly_if_the_model_uses_them(case: Case) -> None:
    agent = case.make()
    m = agent.model
    assert m.uses_action == case.uses_action
    h, a = m.encode(case.x(1)), case.a(1, 8, 3)
    noise = torch.randn(2, 3, m.noise_dim, generator=rng())
    rows = side_by_side(h, m.initial_state(h), a, noise)
    future = m.imagine(*rows).h[1:].view(3, 1, 8, 2, -1)
    returns = agent.controller.score(*rows).view(1, 8, 2)
    alike = torch.equal(future, future[:, :, :1].expand_as(future))
    assert alike == (not m.uses_action)
    # Without actions all candidates have the same score, bit for bit.
    assert torch.equal(returns, returns[:, :1].expand_as(returns)) == (not m.uses_action)


@every
def test_diagnostics_work_with_every_model(case: Case) -> None:
    agent = case.make()
    measures = diagnose(agent.model, case.batch(agent, 16), rng())
    assert all(np.isfinite(v) for v in measures.values())
    assert (measures["action_sensitivity"] > 0) == agent.model.uses_action
    assert (measures["latent_sensitivity"] > 0) == (agent.model.latent_dim > 0)


@pytest.mark.slow
@some("learns")
def test_compiled_plans_and_losses_are_the_same(case: Case) -> None:
    agent = case.make()
    batch, x = case.batch(agent), case.x(1)
    state, noise = initial(agent, 1), agent.controller.draw_noise(1, rng())
    learner = agent.make_learner()
    noises = learner._noise(8, rng())
    loss = [
        prepare(learner.losses, how)(batch, learner.value_scale, noises)[0].detach()
        for how in (False, True)
    ]
    torch.testing.assert_close(loss[1], loss[0], rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        plans = [prepare(agent.controller.decide, how)(x, state, noise)[0] for how in (False, True)]
    torch.testing.assert_close(plans[1].cost, plans[0].cost, rtol=1e-3, atol=1e-3)
