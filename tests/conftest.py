"""Shared by all tests: one thread, the toy environments, and a configuration small enough."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.helpers.clusters.nodes import cluster_of_one
from tests.helpers.settings import HELPERS, SMALL
from worldplan.agent.learning.compiling import find_device

# The user's list of environments that were made stays as it is.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()

if hasattr(signal, "SIGHUP"):  # as in a terminal, under `nohup pytest` too
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

torch.set_num_threads(1)
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several, and so are the commands that it runs
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # such a process has it ignored
sys.path.append(HELPERS)

# MuJoCo fixes its renderer when it is first imported: before any test asks for a picture.
if "MUJOCO_GL" not in os.environ:
    ask = "from worldplan.envs import choose_backend; print(choose_backend())"
    found = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    if found.returncode == 0:
        os.environ["MUJOCO_GL"] = found.stdout.strip()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where agents run: cpu, cuda, cuda:1 or mps")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device of `--device`, which must be there."""
    return find_device(request.config.getoption("--device"))


@pytest.fixture
def small() -> list[str]:
    """Overrides that make a run small enough for a test."""
    return list(SMALL)


@pytest.fixture
def toy() -> dict[str, Any]:
    """What `worldplan train --env toy_envs:ToyPoint-v0` starts from."""
    return {"task": "toy", "env": {"id": "toy_envs:ToyPoint-v0"}, "steps": 120}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Ray's, of one node on this machine: see `cluster_of_one`."""
    with cluster_of_one(monkeypatch) as made:
        yield made
