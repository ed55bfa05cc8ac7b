"""The package's structure: direction of imports, and that the wheel holds the tree."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("agent", "planners", "envs", "configs")
# What each folder may import besides the standard library; None: anything declared.
MAY = {
    "planners": {"torch", "pydantic", "worldplan.planners"},
    "envs": {
        *("gymnasium", "mujoco", "numpy", "pydantic", "omegaconf", "shimmy", "dm_control"),
        "worldplan.envs",
    },
    "configs": set[str](),
}


def _imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("folder", list(MAY))
def test_imports_go_one_way(folder: str) -> None:
    for file in (ROOT / folder).glob("*.py"):
        for name in _imports(file):
            head = name.split(".")[0]
            parts = ".".join(name.split(".")[:2]) if head == "worldplan" else head
            allowed = parts in MAY[folder] or head in sys.stdlib_module_names
            assert allowed, f"{file.name} imports {name}; {folder} may import {MAY[folder]}"


def test_no_bare_imports_of_our_folders() -> None:
    for folder in (*FOLDERS, "tests", "benchmarks"):
        for file in (ROOT / folder).glob("*.py"):
            for name in _imports(file):
                assert name.split(".")[0] not in FOLDERS, f"{file} imports {name}: twin classes"


def test_importing_has_no_side_effects() -> None:
    code = (
        "import sys, os, gymnasium, torch; before = dict(os.environ);"
        "import worldplan.agent, worldplan.agent.cli;"
        "assert dict(os.environ) == before;"
        "assert 'dm_control' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    # With a renderer chosen, by an earlier test say, MuJoCo itself sets another variable.
    env = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_wheel_holds_the_tree(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    done = subprocess.run([*build, str(_copy(tmp_path / "tree"))], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("worldplan/")}
    tree = {
        f"worldplan/{folder}/{file.name}"
        for folder in FOLDERS
        for file in (ROOT / folder).iterdir()
        if file.suffix in (".py", ".yaml") or file.name == "py.typed"
    }
    assert packed == tree


def _copy(to: Path) -> Path:
    """Sources alone: building in the checkout would leave folders behind."""
    import shutil

    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to / name)
    return to
