"""A run that goes on to more steps than it was started with."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.helpers.checkpoints import same
from worldplan.agent.config.changes import lengthened
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.checkpoint import find, read
from worldplan.agent.training.restore import read_config
from worldplan.agent.training.trainer import Trainer


def make(base: dict[str, Any], settings: list[str], run_dir: Path, **how: Any) -> Trainer:
    return Trainer(resolve(base, settings), run_dir, Console(quiet=True), **how)


@pytest.mark.parametrize("envs", [1, 2])
def test_a_run_goes_on_to_more_steps_as_if_it_had_had_them_from_the_start(
    toy: dict[str, Any], small: list[str], tmp_path: Path, envs: int
) -> None:
    every = [f"{name}=30" for name in ("eval_interval", "checkpoint_interval", "log_interval")]
    whole_episodes = ["env.kwargs.limit=2"]  # at the sixtieth step they end, as at a checkpoint
    settings = [*small, *every, *whole_episodes, "seed_steps=20", f"num_envs={envs}"]
    make(toy, [*settings, "steps=120"], tmp_path / "whole").run()
    part = tmp_path / "part"
    make(toy, [*settings, "steps=60"], part).run()
    longer = make(toy, [*settings, "steps=120"], part, resume=True)
    assert not (part / "result.json").exists()
    assert "steps: 120" in (part / "config.yaml").read_text()
    assert longer.clock["total"] > 0
    longer.end()  # at once: a later resume knows of the steps
    assert read_config(read(find(part))[1]).steps == 120
    make(toy, [*settings, "steps=120"], part, resume=True).run()
    assert same(tmp_path / "whole", part)
    for name in ("curve.csv", "episodes.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (part / name).read_bytes()
    assert json.loads((part / "result.json").read_text())["step"] == 120


def test_a_solved_run_goes_on_where_more_steps_are_asked_for(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    settings = [*small, "solved=-1000"]
    make(toy, settings, tmp_path).run()
    config = lengthened(resolve(toy, settings), ["steps=130"])
    longer = Trainer(config, tmp_path, Console(quiet=True), resume=True)
    longer.run()
    assert (longer.step, longer.stop) == (60, "solved")  # at the evaluation after
