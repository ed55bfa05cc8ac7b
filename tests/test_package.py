"""The package's structure: direction of imports, and that the wheel holds the tree."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("agent", "planners", "envs", "configs", "demos")
# What each folder may import besides the standard library and itself; None: anything declared.
MAY = {
    "planners": {"torch", "pydantic"},
    "envs": {
        "gymnasium",
        "mujoco",
        "PIL",
        "cloudpickle",
        "tblib",
        "numpy",
        "pydantic",
        "shimmy",
        "dm_control",
    },
    "configs": set[str](),
    "demos": set[str](),
    "worldplan": set[str](),
}
# The floors of agent/, the uppermost first: imports only ever point down.
FLOORS = (
    *("commands", "api", "experiments", "training", "deployment", "evaluation"),
    *("config", "agent", "acting"),
    *("learning", "models", "data"),
)
# Rooms that stand side by side on one floor, and may not know of each other.
ROOMS = {"experiments": ("compare", "report", "imagine", "tune")}


def _files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


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
    files = [ROOT / folder / "__init__.py"] if folder == "worldplan" else _files(folder)
    for file in files:
        for name in _imports(file):
            head, *below = name.split(".")
            allowed = head in MAY[folder] or head in sys.stdlib_module_names
            own = head == "worldplan" and (folder == "worldplan" or below[:1] == [folder])
            assert allowed or own, f"{file} imports {name}; {folder} may import {MAY[folder]}"


def test_within_agent_imports_point_down() -> None:
    found = set()
    for file in _files("agent"):
        here = file.relative_to(ROOT / "agent").with_suffix("").parts
        if here == ("__init__",):  # the face of it all
            continue
        found.add(here[0])
        for name in _imports(file):
            parts = name.split(".")
            if parts[:2] != ["worldplan", "agent"]:
                continue
            assert len(parts) > 2, f"{file} imports {name}, which imports everything"
            above = FLOORS.index(here[0]) > FLOORS.index(parts[2])
            assert not above, f"{file} imports {name}, which stands above it: {FLOORS}"
            rooms = ROOMS.get(here[0], ())
            if parts[2] == here[0] and here[1] in rooms and parts[3] in rooms:
                assert parts[3] == here[1], f"{file} imports {name}: the room beside it"
    assert found == set(FLOORS), "a folder of agent/ has no floor"


def test_no_circle_of_imports() -> None:
    """Of files: `a` imports `b` imports ... imports `a`."""
    graph = {}
    for folder in FOLDERS:
        for file in _files(folder):
            parts = file.relative_to(ROOT).with_suffix("").parts
            module = ".".join(("worldplan", *parts)).removesuffix(".__init__")
            graph[module] = _imports(file)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join((*path[path.index(module) :], module))
        if module in done or module not in graph:
            return
        for name in graph[module]:
            visit(name, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_no_bare_imports_of_our_folders() -> None:
    for folder in (*FOLDERS, "tests", "benchmarks"):
        for file in _files(folder):
            for name in _imports(file):
                assert name.split(".")[0] not in FOLDERS, f"{file} imports {name}: twin classes"


def test_files_and_folders_are_small() -> None:
    for folder in (*FOLDERS, "tests"):
        for file in _files(folder):
            lines = len(file.read_text().splitlines())
            assert lines <= 300, f"{file} has {lines} lines: ask what moves out"
        for place in {file.parent for file in _files(folder)}:
            files = [f for f in place.glob("*.py") if f.name != "__init__.py"]
            most = 14 if folder == "tests" else 13
            assert len(files) <= most, f"{place} has {len(files)} files: ask what moves out"


def test_importing_has_no_side_effects() -> None:
    code = (
        "import sys, os, gymnasium, torch; before = dict(os.environ);"
        "import worldplan, worldplan.agent.commands.main;"
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
        f"worldplan/{file.relative_to(ROOT)}"
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*")
        if file.suffix in (".py", ".yaml") or (folder == "demos" and file.is_file())
        if "__pycache__" not in file.parts
    }
    assert packed == tree | {"worldplan/__init__.py", "worldplan/py.typed"}


def _copy(to: Path) -> Path:
    """Sources alone: building in the checkout would leave folders behind."""
    import shutil

    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (to / "worldplan").mkdir()  # without its links, as on a system that has none
    for name in (
        *("pyproject.toml", "setup.py", "README.md", "LICENSE"),
        *("worldplan/__init__.py", "worldplan/py.typed"),
    ):
        shutil.copy(ROOT / name, to / name)
    return to
