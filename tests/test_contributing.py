"""The steps of CONTRIBUTING.md, followed in a copy of the sources: nothing else need be touched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.settings import SMALL

ROOT = Path(__file__).parent.parent
COPIED = ("agent", "planners", "envs", "configs", "demos", "worldplan", "tests", "pyproject.toml")
RUN = ["train", "--env", "toy_envs:ToyPoint-v0", "steps=60", *SMALL]

PLANNER = """
from typing import Literal

from worldplan.planners.config import PlannerConfig
from worldplan.planners.planner import Planner, moments

class TiltedConfig(PlannerConfig):
    kind: Literal["tilted"] = "tilted"

class Tilted(Planner[TiltedConfig]):
    def update(self, elites, weights, mean, std):
        best = elites[:, 0]
        return (moments(elites, weights)[0] + best) / 2, moments(elites, weights)[1]
"""

FAMILY = """
from typing import Literal

from worldplan.agent.models.jepa import JEPA, JEPAConfig

class ResidualConfig(JEPAConfig):
    kind: Literal["residual"] = "residual"

class Residual(JEPA):
    def predict(self, h, s, z, a):
        return self.embedding_norm(s + super().predict(h, s, z, a))
"""

TASK = """
description: Stay in the middle of a line.
suite: gymnasium
env: {id: worldplan/Line-v0}
steps: 60  # decisions
"""

ENVIRONMENT = """
import gymnasium as gym
import numpy as np

class Line(gym.Env):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.x.copy(), {}

    def step(self, action):
        self.x = self.x + 0.1 * np.asarray(action, np.float32)
        return self.x.copy(), -abs(float(self.x[0])), False, False, {}
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's sources, to be changed."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            leave = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=leave)
        else:
            shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def add(file: Path, before: str, line: str) -> None:
    """Puts a line in front of the one place where `before` stands."""
    text = file.read_text()
    assert text.count(before) == 1, f"{file} has {text.count(before)} of {before!r}"
    file.write_text(text.replace(before, line + before))


def python(copy: Path, *words: str) -> str:
    """What Python says in the copy, whatever else is installed."""
    path = os.pathsep.join([str(copy), str(copy / "tests" / "helpers")])
    done = subprocess.run(
        [sys.executable, *words],
        cwd=copy, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def worldplan(copy: Path, *words: str) -> str:
    command = "from worldplan.agent.commands.main import main; main()"
    return python(copy, "-c", command, *words)


def lines(code: str) -> int:
    """Those that say something, imports apart."""
    return sum(
        bool(line.strip()) and not line.startswith(("from", "import")) for line in code.splitlines()
    )


def test_a_planner_is_added(copy: Path) -> None:
    assert lines(PLANNER) <= 10
    (copy / "planners" / "tilted.py").write_text(PLANNER)
    face = copy / "planners" / "__init__.py"
    add(
        face,
        "from worldplan.planners.mppi ",
        "from worldplan.planners.tilted import Tilted, TiltedConfig\n",
    )
    add(face, '    "mppi": MPPI,', '    "tilted": Tilted,\n')
    add(face, "CEMConfig | ICEMConfig", "TiltedConfig | ")
    said = python(copy, "-m", "pytest", "-q", "tests/planners", "-k", "tilted")
    assert " passed" in said
    said = worldplan(copy, *RUN, "planner.kind=tilted", f"run_dir={copy / 'run'}")
    assert "mean return" in said


def test_a_family_of_world_models_is_added(copy: Path) -> None:
    assert lines(FAMILY) <= 10
    (copy / "agent" / "models" / "residual.py").write_text(FAMILY)
    registry = copy / "agent" / "models" / "registry.py"
    add(
        registry,
        "from worldplan.agent.models.simulator ",
        "from worldplan.agent.models.residual import Residual, ResidualConfig\n",
    )
    add(registry, '    "simulator": SimulatorModel,', '    "residual": Residual,\n')
    add(registry, "JEPAConfig | EnsembleConfig", "ResidualConfig | ")
    cases = copy / "tests" / "helpers" / "contract_cases.py"
    add(cases, '    "simulator": SIMULATOR,', '    "new": Case({**JEPA, "kind": "residual"}),\n')
    said = python(copy, "-m", "pytest", "-q", "tests/agent/models/test_contract.py", "-k", "new")
    assert " passed" in said
    said = worldplan(copy, *RUN, "model.kind=residual", f"run_dir={copy / 'run'}")
    assert "mean return" in said


def test_a_task_is_added(copy: Path) -> None:
    (copy / "configs" / "line.yaml").write_text(TASK)
    (copy / "envs" / "tasks" / "line.py").write_text(ENVIRONMENT)
    own = '    "worldplan/Line-v0": ("worldplan.envs.tasks.line:Line", 20),\n'
    add(copy / "envs" / "make.py", '    "worldplan/Reach-v0": (', own)
    assert "Stay in the middle of a line" in worldplan(copy, "tasks")
    said = worldplan(copy, "train", "line", *SMALL, f"run_dir={copy / 'run'}")
    assert "mean return" in said
