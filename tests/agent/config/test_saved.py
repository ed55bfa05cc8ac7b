"""Settings are read back as they were saved, or refused before anything is trained."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

from worldplan.agent.agent import Agent
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.run import RunConfig
from worldplan.agent.config.saved import check_saved
from worldplan.agent.training import checkpoint
from worldplan.agent.training.restore import load_with_config
from worldplan.agent.training.trained import identity, save_config
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvConfig, EnvironmentSpec

POINT = "toy_envs:ToyPoint-v0"


def with_kwargs(**kwargs: Any) -> RunConfig:
    return RunConfig(task="toy", env=EnvConfig(id=POINT, kwargs=kwargs))


@pytest.mark.parametrize(
    "override",
    [
        "env.kwargs.healthy_z_range=[0.6,.inf]",
        "env.kwargs.low=-.inf",
        "solved=.inf",
        "env.kwargs.text='1e5'",
        "env.kwargs.text='null'",
        "env.kwargs.deep={a: [1, 2.0, true, null, {b: .inf}]}",
        "env.kwargs.small=1e-320",
        "env.kwargs.large=123456789012345678901234567890",
        "env.kwargs.empty={}",
    ],
)
def test_settings_are_read_as_they_were_saved(tmp_path: Path, override: str) -> None:
    config = resolve({"task": "toy", "env": {"id": POINT}}, [override])
    check_saved(config)
    spec = EnvironmentSpec.vectors(2, 1, config.env)
    agent = Agent(config.agent, spec)
    checkpoint.save(tmp_path, 0, agent.weights(), identity(config, spec))
    _, again = load_with_config(tmp_path)
    assert again == config
    save_config(config, tmp_path)
    read = OmegaConf.to_container(OmegaConf.load(tmp_path / "config.yaml"))
    assert RunConfig.model_validate(read) == config


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"range": (0.6, math.inf)}, r"env.kwargs.range=\(0.6, inf\) would be read back .* as \["),
        ({"x": math.nan}, "env.kwargs.x=nan would be read back"),
        ({"x": np.zeros(3)}, "env.kwargs.x: ndarray cannot be saved"),
        ({"x": {1: 2}}, "env.kwargs.x: expected strings as keys, got 1"),
        ({"x": [len]}, r"env.kwargs.x\[0\]: builtin_function_or_method cannot be saved"),
        ({"x": Path("a")}, "would be read back from the run's files as 'a'"),
        ({"x": b"a"}, "env.kwargs.x: bytes cannot be saved"),
        ({"x": "${"}, "cannot be saved as YAML"),
        ({"x": "\udcff"}, "cannot be saved as YAML"),
    ],
)
def test_what_would_be_read_otherwise_is_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        check_saved(with_kwargs(**kwargs))
    assert len(str(refused.value).splitlines()) == 1


def test_it_is_refused_before_training(tmp_path: Path, small: list[str]) -> None:
    config = with_kwargs(limit=np.int64(5))
    with pytest.raises(ValueError, match="limit: int64 cannot be saved with the run; expected"):
        Trainer(config, tmp_path, Console(quiet=True))
    with pytest.raises(ValueError, match="limit: int64"):
        save_config(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_old_name_in_kwargs_is_the_environments() -> None:
    check_saved(with_kwargs(**{"agent.average": 1, "a.b": {"agent.learner.clip": 2}}))


def test_an_infinite_setting_trains_and_resumes(tmp_path: Path, small: list[str]) -> None:
    base = {"task": "toy", "env": {"id": POINT}}
    config = resolve(base, [*small, "steps=60", "solved=.inf", "planner.horizon=2"])
    Trainer(config, tmp_path, Console(quiet=True)).run()
    state = json.loads((checkpoint.find(tmp_path) / "state.json").read_text())
    assert state["state"]["config"]["solved"] == math.inf
    resumed = Trainer(config, tmp_path, Console(quiet=True), resume=True)
    assert resumed.step == 60
    assert torch.isfinite(torch.cat([p.flatten() for p in resumed.learner.parameters])).all()
