"""Which package has the environment of an id that Gymnasium does not know."""

import importlib.util
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

# Packages that put their ids together, so that no file has them whole: beginnings of ids, and the
# module that registers them.
_KNOWN = {
    "Fetch|HandReach|HandManipulate|AdroitHand|FrankaKitchen": "gymnasium_robotics",
    "PointMaze|AntMaze": "gymnasium_robotics",
    "Panda": "panda_gym",
    "Meta-World/": "metaworld",
    "PyFlyt/": "PyFlyt.gym_envs",
    "myo|motor": "myosuite",
    "MiniGrid-|BabyAI-": "minigrid",
    "ALE/": "ale_py",
    r".*BulletEnv-": "pybullet_envs_gymnasium",
}
_LARGEST = 2**20  # bytes of a file that is searched


def module_of(name: str) -> str | None:
    """The module to import for an id such as `PandaReach-v3`; None if no package is known for it.

    It need not be installed: see `is_installed`. Nothing is imported to find it.
    """
    for beginning, module in _KNOWN.items():
        if re.match(beginning, name):
            return module
    namespace = name.partition("/")[0].replace("-", "_") if "/" in name else ""
    if namespace.isidentifier() and is_installed(namespace):
        return namespace
    quoted = re.compile(rf"""["']{re.escape(name)}["']""")
    for file, module in _registering():
        if quoted.search(file.read_text(encoding="utf-8", errors="ignore")):
            return module
    return None


def is_installed(module: str) -> bool:
    """Whether the package that has the module is there."""
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _registering() -> Iterator[tuple[Path, str]]:
    """Python files of the installed packages that need Gymnasium, each with its first module."""
    for package in metadata.distributions():
        needs = (re.match(r"[\w-]+", need) for need in package.requires or ())
        if not any(need and need[0].lower() in ("gymnasium", "gym") for need in needs):
            continue
        for file in package.files or ():
            path = Path(str(package.locate_file(file)))
            if (
                file.suffix == ".py" and len(file.parts) > 1 and path.is_file()
                and path.stat().st_size < _LARGEST
            ):  # fmt: skip
                yield path, file.parts[0]
