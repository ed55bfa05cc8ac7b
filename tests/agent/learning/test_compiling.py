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
from worldplan.agent.learning import compiling
from worldplan.agent.learning.compiling import Execution, mending, prepare, resolve
from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.jepa import JEPA
from worldplan.envs import EnvironmentSpec


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


def costs(made: Agent, precision: torch.dtype, compiled: bool = False) -> Tensor:
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
    [(torch.float32, 1e-4, 0.9999), (torch.bfloat16, 0.05, 0.99)],
)
def test_candidates_keep_their_order(
    precision: torch.dtype, error: float, correlation: float
) -> None:
    exact, fast = costs(double(agent()), torch.float32), costs(agent(), precision)
    assert exact.std() > 0.01
    assert float((fast - exact).abs().max() / exact.abs().max()) < error
    assert rank_correlation(exact, fast) >= correlation
    if precision == torch.bfloat16:  # and it really was another precision
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
    assert execution.update_precision == getattr(torch, name)
    assert f"updates in {name}" in said
