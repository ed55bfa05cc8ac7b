"""A user's environment of any spaces: trained, killed, resumed, evaluated, filmed and loaded."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import worldplan
from tests.helpers import commands
from tests.helpers.any_spaces import SPACES
from tests.helpers.attack.digests import digest_of_run
from tests.helpers.attack.forked import SETTINGS, dies_at, in_child, train
from worldplan.agent.config.presets import of_environment
from worldplan.agent.training import checkpoint

if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

ID = "any_spaces:AnySpaces-v0"
QUICK = [("camera, choice and joints", "multi_discrete")]
SHORT = [*SETTINGS, "steps=24", "eval_interval=12", "model.pictures.channels=[4,4,4]"]
MORE = [
    ("camera and joints", "discrete"),
    ("discrete", "multi_binary"),
    ("box", "multi_discrete"),
    ("multi_discrete", "box"),
    ("multi_binary", "discrete"),
    ("grey", "box"),
    ("colours first", "multi_discrete"),
    ("camera and joints", "box"),
    ("tuple", "discrete"),
    ("tuple", "box"),
]


@pytest.mark.parametrize(
    ("sees", "acts"), [*QUICK, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in MORE)]
)
def test_a_users_environment(sees: str, acts: str, tmp_path: Path) -> None:
    kwargs = {"sees": sees, "acts": acts}
    env = {"id": ID, "kwargs": kwargs, "image_size": 36}
    base: dict[str, Any] = of_environment(ID) | {"env": env}
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(SHORT, whole, base)

    def child() -> None:
        dies_at(checkpoint, "write_text", 3)
        train(SHORT, run, base)

    assert os.WTERMSIG(in_child(child)) == signal.SIGKILL
    train(SHORT, run, base)
    assert digest_of_run(run) == digest_of_run(whole)

    said = commands.run("evaluate", str(run), "--episodes", "2")
    assert "2 held-out episodes" in said
    film = tmp_path / "film.mp4"
    commands.run("rollout", str(run), "--video", str(film))
    assert film.stat().st_size > 0

    agent = worldplan.load(run)
    space, seen = SPACES[acts], SPACES[sees]
    seen.seed(0)
    action = agent.act(seen.sample(), scaled=True)
    assert space.contains(np.asarray(action) if action.shape else action[()])


@pytest.mark.parametrize(
    ("sees", "acts"),
    [
        ("text", "box"),
        ("text beside numbers", "box"),
        ("graph", "box"),
        ("sequence", "box"),
        ("box", "text"),
    ],
)
def test_what_is_not_taken_is_one_line(sees: str, acts: str, tmp_path: Path) -> None:
    words = "train", "--env", ID, f"env.kwargs.sees={sees}", f"env.kwargs.acts={acts}"
    said = commands.run(*words, f"run_dir={tmp_path / 'run'}", code=1)
    (line,) = (line for line in said.splitlines() if line.startswith("worldplan: "))
    assert "expected" in line
    assert "gymnasium.wrappers.Transform" in line
    assert not list(tmp_path.iterdir())
