"""Fast paths against the plain one in float64."""

import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from tests.helpers.acting import initial
from worldplan.agent import Agent, AgentConfig
from worldplan.agent.acting.imagination import side_by_side
from worldplan.agent.data.batch import Batch
from worldplan.agent.learning import compiling
from worldplan.agent.learning.compiling import (
    Execution,
    Products,
    lasting,
    mending,
    prepare,
    resolve,
)
from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.jepa import JEPA
from worldplan.envs import EnvironmentSpec
from worldplan.planners import PlanState


def agent(execution: Execution = Execution(), **settings: Any) -> Agent:  # noqa: B008 (frozen)
    """Of default sizes; its heads, blank at first, are made to tell plans apart."""
    torch.manual_seed(0)
    made = Agent(AgentConfig.model_validate(settings), EnvironmentSpec.vectors(17, 6), execution)
    with torch.no_grad():
        made.heads.value.weights[-1].normal_(std=0.1)
        last = made.heads.outcome[-1]
        assert isinstance(last, nn.Linear)
        last.weight.normal_(std=0.05)
    return made


def costs(made: Agent, precision: Products, compiled: bool = False) -> Tensor:
    """Of 256 candidates, from one state."""
    generator = torch.Generator().manual_seed(1)
    dtype = next(made.model.parameters()).dtype
    observation = torch.randn(1, 17, generator=generator).to(dtype)
    actions = (2 * torch.rand(1, 256, 3, 6, generator=generator) - 1).to(dtype)

    def score() -> Tensor:
        h, s = initial(made, 1).filter(made.model, observation)
        return made.controller.score(
            *side_by_side(h, s, actions, torch.zeros(1, 3, 0, dtype=dtype))
        )

    with torch.no_grad():
        return prepare(score, compiled, precision)().double()


def double(made: Agent) -> Agent:
    for part in (made.model, made.heads):
        assert isinstance(part, JEPA | Heads)
        part.double()
    return made


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, without ties."""
    ranks = torch.stack([a.argsort().argsort(), b.argsort().argsort()]).double()
    return float(torch.corrcoef(ranks)[0, 1])


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


@pytest.mark.skipif(shutil.which("g++") is None, reason="nothing to compile with")
def test_what_is_compiled_for_one_agent_is_not_run_for_another() -> None:
    """PyTorch keeps it by code, which all have in common."""
    x = torch.ones(3)
    made = [prepare(Times(factor).forward, True) for factor in (2.0, 3.0)]
    assert [float(function(x)[0]) for function in made] == [2.0, 3.0]


def test_compiling_falls_back_where_it_cannot_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any) -> Any:
        def fails(*args: Any) -> Any:
            raise RuntimeError("Python.h not found\nand so on")

        return fails

    compilers: list[str | None] = ["/usr/bin/g++"]
    monkeypatch.setattr(shutil, "which", lambda name: compilers[0])
    monkeypatch.setattr(torch, "compile", lambda function: function)
    compiling.obstacle.cache_clear()
    assert resolve("auto")[0].compiled
    assert not resolve("off")[0].compiled

    for where, why in ((None, "apt-get install g++"), ("/usr/bin/g++", "Python.h not found")):
        compilers[0] = where
        monkeypatch.setattr(torch, "compile", broken)
        compiling.obstacle.cache_clear()
        execution, note = resolve("auto")
        assert not execution.compiled
        assert why in note
        assert "\n" not in note
        with pytest.raises(ValueError, match="compile=on cannot be done"):
            resolve("on")
    compiling.obstacle.cache_clear()


@pytest.mark.parametrize(
    ("precision", "error", "correlation"),
    [("float32", 1e-4, 0.9999), ("bfloat16", 0.05, 0.99)],
)
def test_candidates_keep_their_order(precision: Products, error: float, correlation: float) -> None:
    exact, fast = costs(double(agent()), "float32"), costs(agent(), precision)
    assert exact.std() > 0.01
    assert float((fast - exact).abs().max() / exact.abs().max()) < error
    assert rank_correlation(exact, fast) >= correlation
    if precision == "bfloat16":  # and it really was another precision
        assert float((fast - exact).abs().max() / exact.abs().max()) > 1e-4


def failure(text: str) -> BackendCompilerFailed:
    return BackendCompilerFailed(len, ImportError(text), inspect.currentframe())


def test_a_library_that_a_kill_left_half_written_is_made_again(tmp_path: Path) -> None:
    halves = [tmp_path / "one.so", tmp_path / "two.so"]
    for half in halves:
        half.touch()

    def load(x: int) -> int:
        for half in halves:
            if half.exists():
                raise failure(f"{half}: file too short")
        return x + 1

    assert mending(load)(1) == 2
    assert not any(half.exists() for half in halves)


def test_other_failures_to_compile_are_told(tmp_path: Path) -> None:
    def fail() -> None:
        raise failure(f"{tmp_path}/gone.so: no such file")

    with pytest.raises(BackendCompilerFailed, match=r"gone\.so"):
        mending(fail)()


@pytest.mark.parametrize(
    ("able", "name"),
    [
        ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "AMD EPYC 9654"}, "bfloat16"),
        ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, "float32"),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, "bfloat16"),
        ({"avx512_bf16": False, "amx_bf16": False, "cpu_name": "AMD EPYC 7763"}, "float32"),
        ({}, "float32"),  # an older PyTorch
    ],
)
def test_updates_are_in_bfloat16_where_it_is_faster(
    able: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    execution, said = resolve("off", device="cpu")
    assert execution.update_precision == name
    assert f"updates in {name}" in said


def on_cuda(capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "find_device", torch.device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


def test_precisions_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cuda((9, 0), monkeypatch)
    execution, said = resolve("off", device="cuda")
    assert (execution.update_precision, execution.plan_precision) == ("bfloat16", "tf32")
    assert "updates in bfloat16, plans in tf32" in said
    assert resolve("off", "tf32", "float32", "cuda")[0].update_precision == "tf32"
    on_cuda((7, 5), monkeypatch)  # before Ampere
    execution, _ = resolve("off", device="cuda")
    assert (execution.update_precision, execution.plan_precision) == ("float32", "float32")


def test_a_run_in_tf32_goes_on_where_there_is_none() -> None:
    execution, said = resolve("off", "tf32", "tf32", "cpu")
    assert (execution.update_precision, execution.plan_precision) == ("float32", "float32")
    assert "updates in float32, plans in float32" in said


def test_tf32_is_for_the_prepared_function_alone() -> None:
    def precision(fails: bool) -> str:
        if fails:
            raise ZeroDivisionError
        return torch.get_float32_matmul_precision()

    prepared = prepare(precision, False, "tf32")
    assert prepared(False) == "high"
    with pytest.raises(ZeroDivisionError):
        prepared(True)
    assert precision(False) == "highest"


@pytest.mark.parametrize("precision", ["tf32", "float32"])
def test_gradients_are_as_precise_as_the_loss(precision: Products) -> None:
    made, seen = agent(Execution(update_precision=precision)), []
    learner = made.make_learner()
    learner.parameters[0].register_hook(  # type: ignore[no-untyped-call]
        lambda gradient: seen.append(torch.get_float32_matmul_precision())
    )
    batch = Batch.blank(4, 0, 3, made.spec.observation, 6)
    learner.update(batch)
    learner.rehearse(batch)
    assert seen == 2 * [{"tf32": "high", "float32": "highest"}[precision]]
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    ("device", "captured", "graph", "wrapper"),
    [("cuda", True, True, False), ("cuda", False, False, False), ("cpu", True, False, True)],
)
def test_what_is_captured_is_one_graph_on_cuda(
    device: str, captured: bool, graph: bool, wrapper: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    memory = torch.zeros(2)

    def replays(function: Any, *, dynamic: bool | None, options: dict[str, Any]) -> Any:
        asked.update(options)
        return lambda x: memory.copy_(function(x))  # as a graph does

    monkeypatch.setattr(torch, "compile", replays)
    double = prepare(lambda x: 2 * x, True, device=torch.device(device), captured=captured)
    assert (asked["triton.cudagraphs"], asked["cpp_wrapper"]) == (graph, wrapper)
    first = double(torch.ones(2))
    double(torch.zeros(2))
    assert first.tolist() == ([2, 2] if graph else [0, 0])


def test_results_of_a_graph_stay() -> None:
    memory = PlanState.initial(2, 3, 1)

    def replayed(x: float) -> tuple[PlanState, Tensor | None]:
        memory.mean.fill_(x)
        return memory, None

    kept = lasting(replayed)
    one, nothing = kept(1.0)
    two, _ = kept(2.0)
    assert nothing is None
    assert (one.mean == 1).all()
    assert (two.mean == 2).all()
