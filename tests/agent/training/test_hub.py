"""Agents are pushed to the Hub and loaded from it; and those that come with worldplan."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.commands import run
from tests.helpers.servers.hub import hub_server
from tests.helpers.settings import HELPERS, SMALL
from worldplan.agent.training import hub
from worldplan.agent.training.restore import load

pytest.importorskip("huggingface_hub")
ENV = "toy_envs:ToyPoint-v0"
# In a process of its own: huggingface_hub reads the address when it is imported.
ROUND_TRIP = """
import sys, torch, worldplan
run, repo = sys.argv[1:]
agent = worldplan.load(run)
print(agent.push_to_hub(repo))
again = worldplan.load("hf://" + repo)
assert all(torch.equal(v, agent.weights()[k]) for k, v in again.weights().items())
assert again.act([0.0, 0.0]).tolist() == agent.act([0.0, 0.0]).tolist()
assert worldplan.load(f"hf://{repo}@main").run.task == agent.run.task
for wrong in ("hf://me/absent", "hf://me", "hf://me/x/y"):
    try:
        worldplan.load(wrong)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1, error
    else:
        raise AssertionError(wrong)
"""


NOT_THERE = """
import worldplan
agent = worldplan.load("demo:inverted-pendulum")
for what in (lambda: agent.push_to_hub("me/mine"), lambda: worldplan.load("hf://me/mine")):
    try:
        what()
    except OSError as error:
        assert str(error).startswith("hf://me/mine: "), error
        assert len(str(error).splitlines()) == 1, error
    else:
        raise AssertionError
"""


def test_a_hub_that_cannot_be_reached_is_an_error_of_one_line(tmp_path: Path) -> None:
    here = {
        **os.environ, "HF_ENDPOINT": "http://127.0.0.1:1", "HF_TOKEN": "hf_x",
        "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    made = subprocess.run(
        [sys.executable, "-c", NOT_THERE], env=here, capture_output=True, text=True, timeout=120
    )
    assert made.returncode == 0, made.stderr


def test_an_agent_goes_to_the_hub_and_comes_back(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run("train", "--env", ENV, *SMALL, "steps=60", f"run_dir={run_dir}")
    with hub_server() as server:
        server.repos["me/toy"] = {"evil.py": b"raise SystemExit", "checkpoints/step_9/a": b"old"}
        here = {
            **os.environ, "HF_ENDPOINT": server.address, "HF_TOKEN": "hf_x", "PYTHONPATH": HELPERS,
            "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        made = subprocess.run(
            [sys.executable, "-c", ROUND_TRIP, str(run_dir), "me/toy"],
            env=here, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr + "\n".join(server.strange)
        files = server.repos["me/toy"]
    assert f"{server.address}/me/toy" in made.stdout
    card = files["README.md"].decode()
    assert 'worldplan.load("hf://me/toy")' in card
    assert '"returns"' in card
    assert "![learning curve](curve.png)" in card
    assert "id: toy_envs:ToyPoint-v0" in card
    assert not any(name.startswith(("replay", "logs")) for name in files)
    assert "checkpoints/step_9/a" not in files, "what was there before is replaced"
    assert "evil.py" not in server.fetched
    assert set(server.fetched) <= {name for name in files if not name.startswith("curve")}


def test_a_name_that_is_none_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    for name in ("toy", "me/toy/more", "me/to y", "../x/y"):
        with pytest.raises(ValueError, match="expected USER/NAME"):
            hub.push(None, name)  # type: ignore[arg-type]


def test_demos_act() -> None:
    for task, folder in hub.demos().items():
        agent = load(f"demo:{task}")
        assert agent.run.task == task
        assert agent.act(torch.zeros(agent.spec.observation.shape)).shape == (
            agent.spec.action.size,
        )
        assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 3e6


def test_an_unknown_demo_is_answered_with_the_nearest() -> None:
    if hub.demos():
        with pytest.raises(ValueError, match="no demo is called 'hoper'"):
            load("demo:hoper")
