"""In training the policy acts now and then, in place of the plan, from where that has come to."""

import pytest
import torch

from tests.agent.test_agent import agent
from tests.helpers.acting import initial, take

X = torch.ones(4000, 3)


def test_its_share_and_its_stretches_are_as_asked_for() -> None:
    state, generator = initial(agent(), 4000), torch.Generator().manual_seed(0)
    led = []
    for _ in range(400):
        state = state.lead(0.2, 20, generator)
        led.append(state.led)
    acted = torch.stack(led[100:]).float()  # (L, B), as at any time
    assert acted.mean() == pytest.approx(0.2, abs=0.01)
    begun = (acted[1:] > acted[:-1]).sum()
    assert acted[1:].sum() / begun == pytest.approx(20, abs=1)


def test_the_policy_acts_where_it_leads_and_the_plan_elsewhere() -> None:
    sure = {"kind": "cem", "min_std": 1e-3, "initial_std": 1e-3, "horizon": 2, "samples": 8}
    still = {"planner": {**sure, "iterations": 1, "elites": 4}, "noise_min_std": 0.0}
    a = agent(**still, policy_share=0.5, proposals=0)
    generator = torch.Generator().manual_seed(0)
    action, state, plan = take(a, X, initial(a, 4000), generator, "planner", explore=True)
    assert plan is not None
    assert state.led.sum() == pytest.approx(200, abs=50)  # one in twenty, at the first decision
    planned = (action - plan.action).abs().amax(1)
    assert planned[~state.led].max() < 0.05
    h, s = state.filter(a.model, X)
    own, _ = a.heads.act(a.model.features(h, s), state.noise)
    torch.testing.assert_close(action[state.led], own[state.led])


@pytest.mark.parametrize("how", ["share 0", "not exploring", "a goal"])
def test_it_never_acts_otherwise(how: str) -> None:
    a = agent(policy_share=0.0 if how == "share 0" else 0.9)
    if how == "a goal":
        a.aim(torch.zeros(3))
    state, generator = initial(a, 100), torch.Generator().manual_seed(0)
    for _ in range(20):
        explore = how != "not exploring"
        _, state, _ = take(a, X[:100], state, generator, "planner", explore=explore)
    assert not state.led.any()
