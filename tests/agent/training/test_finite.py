"""Weights that are not finite are refused, whichever way a checkpoint comes in."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.helpers.checkpoints import rewrite_tensors
from tests.helpers.commands import run
from tests.helpers.settings import SMALL
from worldplan.agent import load
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.checkpoint import find
from worldplan.agent.training.trainer import Trainer

ENV = "toy_envs:ToySlider-v0"
COMMANDS = (
    ["evaluate", "{run}", "--actor", "random"],
    ["rollout", "{run}", "--dataset", "{out}"],
    ["imagine", "{run}"],
    ["train", "--resume", "{run}"],
)


@pytest.fixture(scope="module", params=["jepa", "autoregressive"])
def fresh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run before its first step. What a model has not seen yet must be finite too."""
    run_dir = tmp_path_factory.mktemp("runs") / "toy"
    settings = [*SMALL[3:], f"model={request.param}", "model.width=8"]
    Trainer(resolve({"task": "toy", "env": {"id": ENV}}, settings), run_dir, Console(quiet=True))
    load(run_dir)
    return run_dir


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["weight", "normaliser.scale", "unit.value"])
def test_it_is_refused(fresh: Path, value: float, part: str, tmp_path: Path) -> None:
    folder = shutil.copytree(fresh, tmp_path / "run")
    out = tmp_path / "x.npz"

    def spoil(tensors: dict[str, np.ndarray]) -> None:
        acting = ("model.", "heads.")
        name = next(k for k in tensors if k.startswith(acting) and k.endswith(part))
        tensors[name] = tensors[name].copy()
        tensors[name].reshape(-1)[-1] = value

    rewrite_tensors(find(folder), spoil)
    with pytest.raises(ValueError, match="expected finite weights, got NaN or infinity in") as e:
        load(folder)
    assert str(folder) in str(e.value)
    for words in COMMANDS:
        said = run(*[word.format(run=folder, out=out) for word in words], code=1)
        assert "expected finite weights, got NaN or infinity in" in said
        assert said.count("worldplan: ") == 1
    assert not out.exists()
