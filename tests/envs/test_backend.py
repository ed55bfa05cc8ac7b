"""A renderer that does not work breaks nothing where nothing is drawn; else another is found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.settings import HELPERS
from worldplan.envs.rendering import choose

# OpenGL, as PyOpenGL is where the library of a backend is missing.
NO_LIBRARY = "raise AttributeError(\"'NoneType' object has no attribute 'glGetError'\")"


def python(code: str, backend: str, path: str | Path = HELPERS) -> subprocess.CompletedProcess[str]:
    keep = {k: v for k, v in os.environ.items() if k not in ("PYOPENGL_PLATFORM", "DISPLAY")}
    paths = os.pathsep.join([str(path), HELPERS])
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**keep, "MUJOCO_GL": backend, "PYTHONPATH": paths},
    )  # fmt: skip


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    (tmp_path / "OpenGL").mkdir()
    (tmp_path / "OpenGL" / "__init__.py").write_text(NO_LIBRARY)
    return tmp_path


COMMANDS = """
import sys
from worldplan.agent.commands.main import app
from worldplan.envs import EnvConfig, make_env
app(["tasks"], standalone_mode=False)
make_env(EnvConfig(id="InvertedPendulum-v5")).reset(seed=0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
@pytest.mark.parametrize("backend", ["osmesa", "no-such-backend"])
def test_nothing_breaks_where_nothing_is_drawn(broken: Path, backend: str) -> None:
    done = python(COMMANDS, backend, broken)
    assert done.returncode == 0, done.stderr
    assert "inverted-pendulum" in done.stdout


GHOSTS = """
import os
from worldplan.agent.evaluation.film import prepare_rendering
print(prepare_rendering())
import toy_envs, mujoco
from worldplan.envs import EnvConfig, make_env
env = make_env(EnvConfig(id="ToySlider-v0"))
env.reset(seed=0)
renderer = mujoco.Renderer(env.unwrapped.model, 32, 32)
renderer.update_scene(env.unwrapped.data)
print(renderer.render().std() > 1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
@pytest.mark.parametrize("backend", ["", "no-such-backend"])
def test_another_renderer_is_found_after_mujoco_was_imported(backend: str) -> None:
    """Also by MuJoCo's own renderer, which draws the ghosts of `imagine`."""
    if not any(map(choose._works, ("egl", "osmesa"))):
        pytest.skip("nothing renders here")
    done = python(GHOSTS, backend)
    assert done.returncode == 0, done.stderr
    said, drawn = done.stdout.splitlines()
    assert said.startswith(("rendering by egl", "rendering by osmesa"))
    assert said.endswith(f"(MUJOCO_GL={backend} does not work here)" if backend else ("egl", "sa"))
    assert drawn == "True"
