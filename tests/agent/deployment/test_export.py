"""What is exported gives the agent's actions, step by step, with the same random numbers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.acting_agents import agent as small_agent
from tests.helpers.acting_agents import observations
from worldplan.agent.agent import Agent
from worldplan.agent.deployment import export as module
from worldplan.agent.deployment.decision import Decision
from worldplan.agent.deployment.export import export, exported
from worldplan.envs import ActionSpec, EnvironmentSpec

BOUNDS = ActionSpec(2, low=(-1.0, 0.0), high=(3.0, 10.0))
CHOICES = ActionSpec(5, "multi_discrete", choices=(2, 3), first=(0, 4))
SWITCHES = ActionSpec(4, "multi_binary", choices=(2, 2), first=(0, 0))


def agent(action: ActionSpec = BOUNDS, **planner: Any) -> Agent:
    a = small_agent(**{"keep": 0.5, **planner})
    b = Agent(
        a.config, EnvironmentSpec(EnvironmentSpec.vectors(3, action.size).observation, action)
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for p in (*b.model.parameters(), *b.heads.parameters()):
            p.copy_(0.3 * torch.randn(p.shape))
    return b


def played(run: Any, size: int, seed: int) -> tuple[np.ndarray[Any, Any], torch.Tensor]:
    """Actions of a decision on a few observations from an episode's start, and its last state."""
    torch.manual_seed(seed)
    state, actions = torch.zeros(1, size), []
    for x in observations(1):
        action, state = run(torch.from_numpy(x), state)
        actions.append(action[0].numpy())
    return np.stack(actions), state


def acted(a: Agent, seed: int) -> np.ndarray[Any, Any]:
    a.reset(seed=seed)
    return np.stack([a.act(x[0], scaled=True) for x in observations(1)])


@pytest.mark.parametrize(
    "action", [BOUNDS, CHOICES, SWITCHES], ids=["numbers", "choices", "switches"]
)
def test_a_graph_decides_as_the_agent(action: ActionSpec) -> None:
    """Also from what it remembers: a plan, its elites, an observation and an action."""
    a = agent(action)
    a.controller.shortfall, a.controller.policy_turn = 0.01, 2
    decision = Decision(a.actor(), a.spec.action)
    graph = exported(decision).module()
    assert decision.size == (3 + action.size + 1) + 3 * action.size + 2 * 3 * action.size + 4
    found, state = played(graph, decision.size, seed=3)
    wanted = acted(a, seed=3)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert found.dtype == wanted.dtype
    assert (state != played(graph, decision.size, seed=4)[1]).any()  # it draws noise of its own


def test_its_aim_goes_with_it() -> None:
    a = agent()
    for_return = acted(a, seed=0)
    a.aim(np.full(3, 2.0))
    decision = Decision(a.actor(), a.spec.action)
    with torch.no_grad():
        found, _ = played(decision, decision.size, seed=0)
    np.testing.assert_allclose(found, acted(a, seed=0), rtol=1e-4, atol=1e-4)
    assert (found != for_return).any()


def test_no_plan_is_no_number() -> None:
    a = agent()
    decision = Decision(a.actor(), a.spec.action)
    with torch.no_grad():
        a.heads.unit.value.fill_(torch.nan)
        for p in a.heads.parameters():
            p.fill_(torch.nan)
        assert np.isnan(played(decision, decision.size, seed=0)[0]).all()


def test_the_policy_as_onnx(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    a = agent()
    file = export(a, tmp_path / "new" / "policy.onnx", batch=2)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["worldplan"])
    assert (about["actor"], about["batch"]) == ("policy", 2)
    assert about["action"] == {"kind": "box", "low": [-1.0, 0.0], "high": [3.0, 10.0]}
    state = np.zeros((2, about["state"]["size"]), np.float32)
    actor = a.actor("policy")
    own, random = actor.initial(2), a.generator(0)
    for x in observations(2):
        action, state = session.run(None, {"observation": x, "state": state})
        expected, own, _ = actor.act(torch.from_numpy(x), own, random)
        np.testing.assert_allclose(action, a.spec.action.scaled(expected.numpy()), atol=1e-4)
    assert [f.name for f in file.parent.iterdir()] == ["policy.onnx"]  # no drafts


def test_a_file_that_does_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(graph: Any, file: Path, metadata: Any) -> Any:
        file.write_text("")
        return lambda x, state: (torch.zeros(len(x), 2), state)

    monkeypatch.setattr(module, "_write_onnx", write)
    a = agent()
    random = torch.get_rng_state()
    with pytest.raises(RuntimeError, match=r"they differ by .* of their range; nothing was"):
        export(a, tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())
    assert torch.equal(torch.get_rng_state(), random), "the user's random numbers"


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("agent.pt", {}, "expected a file that ends in .pt2 or .onnx, got '.*agent.pt'"),
        ("agent.onnx", {"actor": "planner"}, "ONNX takes the policy alone"),
        ("agent.pt2", {"actor": "polcy"}, "Did you mean 'policy'"),
        ("agent.pt2", {"batch": 0}, "expected a batch of 1 or more, got 0"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path: Path, name: str, how: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        export(agent(), tmp_path / name, **how)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_told(tmp_path: Path) -> None:
    a = agent()
    a.minimise(lambda x: x[..., 0], lambda features: features)
    with pytest.raises(ValueError, match="a cost that is a Python function cannot be exported"):
        export(a, tmp_path / "a.pt2")
    follows = small_agent()
    config = follows.config.model_copy(
        update={
            "planner": type(follows.config)
            .model_validate({"planner": {"kind": "gradient"}})
            .planner
        }
    )
    with pytest.raises(ValueError, match=r"planner.kind=gradient follows gradients"):
        export(Agent(config, agent().spec), tmp_path / "a.pt2")
    with pytest.raises(ValueError, match="bounds of the environment's actions are not known"):
        export(small_agent(), tmp_path / "a.pt2")


_ALONE = """
import json, sys
sys.modules["worldplan"] = None  # cannot be imported
import torch
decide = torch._inductor.aoti_load_package(sys.argv[1])
about = json.loads(decide.get_metadata()["worldplan"])
torch.manual_seed(3)
state = torch.zeros(1, about["state"]["size"])
for x in json.loads(sys.argv[2]):
    action, state = decide(torch.tensor(x), state)
    print(json.dumps(action[0].tolist()))
"""


@pytest.mark.slow
def test_a_compiled_decision_runs_without_worldplan(tmp_path: Path) -> None:
    a = agent()
    file = export(a, tmp_path / "agent.pt2")
    given = json.dumps([x.tolist() for x in observations(1)])
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, str(file), given], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(found, acted(a, seed=3), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_compiled_decision_runs_in_cpp(tmp_path: Path) -> None:
    """The program of examples/cpp, built as its README says."""
    a = agent()
    file = export(a, tmp_path / "agent.pt2")
    folder = Path(__file__).parents[3] / "examples" / "cpp"
    build = re.search(r"^TORCH=.*?-lc10$", (folder / "README.md").read_text(), re.M | re.S)
    assert build is not None
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = build[0].replace("act.cpp -o act", f"act.cpp -o {tmp_path}/act")
    subprocess.run(command, shell=True, check=True, cwd=folder, env={**os.environ, "PATH": path})
    lines = "\n".join(" ".join(map(str, x[0])) for x in observations(1))
    call = [str(tmp_path / "act"), str(file), "3"]
    done = subprocess.run(call, input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    np.testing.assert_allclose(found, acted(a, seed=3), rtol=1e-3, atol=1e-3)
    cut = subprocess.run(call, input="0.5 0.5\n", capture_output=True, text=True)
    assert cut.returncode == 1
    assert "expected 3 numbers, got 2" in cut.stderr
