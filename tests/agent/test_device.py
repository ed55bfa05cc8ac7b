"""Everything stays on the device that was asked for.

With `pytest --device cuda` agents really run there. Others are laid out on PyTorch's `meta` device,
which computes shapes and no numbers, and refuses tensors of another device just the same.
"""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.helpers import commands
from tests.helpers.acting import initial, take
from tests.helpers.contract_cases import Case, some
from tests.helpers.small_models import rng
from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.batch import sent
from worldplan.agent.learning.compiling import Execution, find_device
from worldplan.agent.learning.learner import UpdateNoise
from worldplan.agent.models import networks
from worldplan.agent.models.networks import widest
from worldplan.agent.training import checkpoint
from worldplan.agent.training.restore import load
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvironmentSpec
from worldplan.planners import PLANNERS

META = torch.device("meta")


class Elsewhere(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what is computed on another device than META, or is moved between them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []
        self.moves: list[tuple[int, ...]] = []
        self.dtypes: set[torch.dtype] = set()  # of what is on META

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = [x for x in tree_leaves(found) if isinstance(x, Tensor)]
        self.dtypes |= {x.dtype for x in made if x.device == META}
        devices = {x.device for x in (*given, *made)}
        if devices - {META}:
            self.seen.append(str(func))
        if len(devices) > 1:
            self.moves.append(tuple(given[0].shape))
        return found


def placed(case: Case, device: torch.device, planner: str = "mppi") -> Agent:
    once = {"iterations": 1} if planner == "random_shooting" else {"iterations": 2}
    config = {
        **case.make().config.model_dump(),
        "planner": {"kind": planner, "samples": 16, **once},
    }
    spec = EnvironmentSpec.vectors(case.observation_dim, case.action_dim)
    return Agent(AgentConfig.model_validate(config), spec, Execution(device=device))


@pytest.mark.parametrize("planner", sorted(PLANNERS))
@some("learns")
def test_a_decision_stays_on_its_device(
    case: Case, planner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if planner == "gradient" and not (case.differentiable and case.uses_action):
        pytest.skip("it promises no gradients along actions")
    # What has no numbers cannot be drawn from a seed.
    monkeypatch.setattr(Agent, "generator", lambda agent, seed: None)
    agent = placed(case, META, planner)
    state, x = initial(agent, 3), case.x(3).to(META)
    noise = agent.controller.draw_noise(3, None)
    with Elsewhere() as elsewhere:
        plan, after = agent.controller.decide(x, state, noise)
    assert {plan.action.device, plan.std.device, after.mean.device} == {META}
    assert not elsewhere.seen  # not even a number, which would keep it from being one CUDA graph


@pytest.mark.parametrize("explore", [False, True])
def test_a_decision_comes_and_goes_in_one_piece(
    explore: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An observation in, actions out; a GPU is never asked for anything in between."""
    told: list[tuple[int, ...]] = []

    def leaves(x: Tensor) -> Tensor:
        told.append(tuple(x.shape))
        return torch.zeros(x.shape)

    monkeypatch.setattr(Tensor, "cpu", leaves)
    monkeypatch.setattr(Agent, "generator", lambda agent, seed: None)
    config = AgentConfig.model_validate({"shortfall": 0.1, "value_depths": 2, "sample_elite": 1})
    agent = Agent(config, EnvironmentSpec.vectors(5, 2), Execution(device=META))
    actor = agent.actor(explore=explore)
    state = actor.initial(3).begin(torch.ones(3, dtype=torch.bool))
    state = replace(state, begins=not explore)  # what kind of episode it is, is asked once
    for _ in range(2):
        told.clear()
        with Elsewhere() as elsewhere:
            action, state, _ = actor.act(torch.ones(3, 5), state, None)  # type: ignore[arg-type]
        assert action.shape == (3, 2)
        assert told == [(3, 3)]  # the actions, and whether the plan failed
        assert elsewhere.moves == [(3, 5)]


@some("learns")
def test_an_update_stays_on_its_device(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.uses_all_embeddings:
        pytest.skip("which embeddings the loss uses depends on numbers, and here are none")
    monkeypatch.setattr(Agent, "generator", lambda agent, seed: None)
    agent = placed(case, META)
    learner = agent.make_learner()
    batch = case.batch(agent).to(META)
    loss, metrics, _ = learner.losses(batch, learner.value_scale, learner._noise(8, None))
    loss.backward()  # type: ignore[no-untyped-call]
    assert {m.device for m in metrics.values()} == {META}
    assert {p.grad.device for p in learner.parameters if p.grad is not None} == {META}
    # Adam, of which there is no kernel here, comes after the gradient.
    monkeypatch.setattr(learner.optimizer, "step", lambda: None)
    here = case.batch(agent)
    with Elsewhere() as elsewhere:
        learner.update(here, None)
    assert sorted(elsewhere.moves) == sorted(tuple(u.shape) for u in vars(here).values())


def test_cuda_fetches_what_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates are queued and not waited for, only if their batches lie in page-locked memory."""
    asked: list[tuple[Any, ...]] = []

    def to(x: Tensor, device: torch.device, non_blocking: bool = False) -> Tensor:
        asked.append(("to", device, non_blocking))
        return x

    def pin(x: Tensor) -> Tensor:
        asked.append(("pinned",))
        return x

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "to", to)
    x, cuda = torch.zeros(2), torch.device("cuda:1")
    assert sent(x, cuda) is x
    assert asked == [("pinned",), ("to", cuda, True)]
    asked.clear()
    assert sent(x, "cpu") is x
    assert asked == [("to", "cpu", False)]


@some("learns")
def test_a_device_without_float64_is_not_asked_for_it(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apple's have none. Here `meta` is one of them."""
    if case.uses_all_embeddings or case.model["kind"] == "autoregressive":
        pytest.skip("what it computes depends on numbers, and here are none")
    monkeypatch.setattr(networks, "_WITHOUT_FLOAT64", {"meta"})
    monkeypatch.setattr(Agent, "generator", lambda agent, seed: None)
    with Elsewhere() as elsewhere:
        agent = placed(case, META)
        learner = agent.make_learner()
        learner.observe(case.x(3))
        learner.observe_rewards(torch.ones(3), torch.ones(3) > 0)
        batch = case.batch(agent).to(META)
        learner.losses(batch, learner.value_scale, learner._noise(8, None))
        agent.controller.decide(
            case.x(3).to(META), initial(agent, 3), agent.controller.draw_noise(3, None)
        )
        assert widest(META) == torch.float32
    assert torch.float32 in elsewhere.dtypes
    assert torch.float64 not in elsewhere.dtypes


@some("learns")
def test_a_device_learns_and_plans_as_the_cpu_does(
    case: Case, device: torch.device, tmp_path: Path
) -> None:
    cpu = case.make()
    gpu = Agent(cpu.config, cpu.spec, Execution(device=device))
    gpu.load_weights(cpu.weights())
    batch, x = case.batch(cpu), case.x(4)
    there, here = gpu.make_learner(), cpu.make_learner()
    noise = here._noise(8, rng())
    expected, _, _ = here.losses(batch, here.value_scale, noise)
    loss, _, _ = there.losses(
        batch.to(device), there.value_scale, UpdateNoise(*(u.to(device) for u in noise))
    )
    assert float(loss) == pytest.approx(float(expected), rel=1e-3)
    for _ in range(3):
        metrics = there.update(batch, gpu.generator(0))
    assert all(torch.isfinite(m) for m in metrics.values())

    action, _, _ = take(gpu, x, initial(gpu, 4), gpu.generator(0))
    again, _, _ = take(gpu, x, initial(gpu, 4), gpu.generator(0))
    assert torch.equal(action, again)
    assert action.device.type == "cpu"  # for an environment

    path = checkpoint.save(tmp_path, 1, gpu.weights(), {})
    cpu.load_weights(checkpoint.read(path)[0])
    sent: Agent = pickle.loads(pickle.dumps(gpu))
    assert sent.device.type == "cpu"
    np.testing.assert_array_equal(sent.act(x.numpy()), cpu.act(x.numpy()))


def test_a_run_on_a_device_is_evaluated_on_the_cpu(
    toy: dict[str, Any], small: list[str], device: torch.device, tmp_path: Path
) -> None:
    config = resolve(toy, [*small, "steps=60", f"device={device}"])
    result = Trainer(config, tmp_path / "run", Console(quiet=True)).run()
    assert np.isfinite(result.returns).all()
    assert load(tmp_path / "run", device="cpu").act([0.0, 0.0]).shape == (1,)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_one_line(device: str) -> None:
    kind = device.partition(":")[0]
    if getattr(torch.backends, kind).is_built() and getattr(torch, kind).is_available():
        pytest.skip(f"{device} may be there")
    said = commands.run("train", "inverted-pendulum", f"device={device}", code=1)
    assert f"device={device}: PyTorch" in said
    assert "expected auto, or one of cpu" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0"])
def test_what_names_no_device_is_refused(toy: dict[str, Any], device: str) -> None:
    with pytest.raises(ValueError, match="device: expected auto, cpu, mps, cuda, or one of"):
        resolve(toy, [f"device={device}"])
    with pytest.raises(ValueError, match="expected auto, cpu, mps, cuda, or one of"):
        find_device(device)
