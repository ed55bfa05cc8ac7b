"""Every preset trains; one is trained until it is solved."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.helpers.suites import HAS
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset, tasks
from worldplan.agent.training.trainer import Trainer


def named(name: str) -> Any:
    """Pictures take seconds: they are read by tests of their own."""
    return pytest.param(name, marks=[pytest.mark.slow] if name.endswith("-pixels") else [])


@pytest.mark.parametrize("name", map(named, tasks()))
def test_every_preset_trains(
    name: str, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not HAS[tasks()[name].needs]:
        pytest.skip(f"needs worldplan[{tasks()[name].needs}]")
    preset = load_preset(name)
    if preset["env"].get("observe") == "pixels" and "MUJOCO_GL" not in os.environ:
        pytest.skip("nothing renders here")
    config = resolve(preset, [*small, "steps=60", "eval_interval=1000"])
    trainer = Trainer(config, tmp_path, Console(quiet=True))
    monkeypatch.setattr(trainer, "_finish", lambda: None)  # it plays whole episodes
    before = {k: v.clone() for k, v in trainer.agent.model.state_dict().items()}
    trainer.run()
    assert 60 <= trainer.replay.transitions < 60 + config.num_envs
    assert trainer.learner.updates == int(config.updates_per_step * trainer.replay.transitions)
    after = trainer.agent.model.state_dict()
    assert all(v.isfinite().all() for v in after.values())
    assert any(not torch.equal(v, before[k]) for k, v in after.items())


@pytest.mark.slow
def test_inverted_pendulum_is_solved(tmp_path: Path) -> None:
    """Every held-out episode lasts 1000 steps, within 5000 of training; minutes, compiled."""
    trainer = Trainer(resolve(load_preset("inverted-pendulum")), tmp_path, Console(quiet=True))
    result = trainer.run()
    assert trainer.stop == "solved"
    assert result.returns.tolist() == [1000.0] * 10
