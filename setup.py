"""Sub-packages: the folders of the root, and all below them, are installed under `worldplan`."""

from setuptools import find_packages, setup

FOLDERS = ("agent", "planners", "envs", "configs", "demos")
found = find_packages(include=[pattern for name in FOLDERS for pattern in (name, f"{name}.*")])

setup(
    packages=["worldplan", *(f"worldplan.{name}" for name in found)],
    package_dir={"worldplan": "worldplan", **{f"worldplan.{name}": name for name in FOLDERS}},
)
