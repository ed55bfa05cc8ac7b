"""Shared by all tests: one thread, the toy environments, and a configuration small enough."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)
sys.path.append(str(Path(__file__).parent))  # toy_envs, found as a user's own module would be

# MuJoCo fixes its renderer when it is first imported: before any test asks for a picture.
if "MUJOCO_GL" not in os.environ:
    ask = "from worldplan.envs import choose_backend; print(choose_backend())"
    found = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    if found.returncode == 0:
        os.environ["MUJOCO_GL"] = found.stdout.strip()

SMALL = [
    *("model.embedding=16", "model.width=16", "model.simnorm_group=4"),
    *("heads.width=16", "heads.outcome_width=16", "heads.bins=21", "learner.batch=16"),
    *("planner.samples=16", "planner.elites=4", "planner.iterations=2", "agent.proposals=4"),
    *("seed_steps=40", "compile=off", "threads=1", "eval_episodes=2", "final_episodes=2"),
]


@pytest.fixture
def small() -> list[str]:
    """Overrides that make a run small enough for a test."""
    return list(SMALL)


@pytest.fixture
def toy() -> dict[str, Any]:
    """What `worldplan train --env toy_envs:ToyPoint-v0` starts from."""
    return {"task": "toy", "env": {"id": "toy_envs:ToyPoint-v0"}, "steps": 120}
