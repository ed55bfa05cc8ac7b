"""Work of seconds is never compiled."""

from pathlib import Path
from typing import Any

import pytest
import torch

import worldplan
from tests.helpers.commands import run
from tests.helpers.settings import SMALL
from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.learning.compiling import Compile
from worldplan.agent.training.compiled import playing
from worldplan.agent.training.compiled.playing import compile_to_play
from worldplan.envs import EnvironmentSpec


def test_a_short_run_its_evaluation_and_its_agent_compile_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_(*args: object, **how: object) -> Any:
        raise AssertionError("compiles")

    monkeypatch.setattr(torch, "compile", compile_)
    settings = [*SMALL, "compile=auto", "threads=1", "steps=45", f"run_dir={tmp_path / 'x'}"]
    said = run("train", "--env", "toy_envs:ToyPoint-v0", *settings)
    assert "starts at once" in said
    run("evaluate", tmp_path / "x", "--episodes", 2)
    run("rollout", tmp_path / "x", "--dataset", tmp_path / "x.npz")
    assert worldplan.load(tmp_path / "x").act([0.0, 0.0]).shape == (1,)


@pytest.mark.parametrize(
    ("how", "decisions", "compiled"),
    [("auto", 20_000, False), ("auto", 200_000, True), ("on", 1000, False), ("off", 10**9, False)],
)
def test_many_decisions_pay_for_compiling(
    how: Compile, decisions: int, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playing, "obstacle", lambda: None)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    agent = Agent(AgentConfig(), EnvironmentSpec.vectors(2, 1))
    assert compile_to_play(agent, how, decisions) == agent.execution.compiled == compiled
