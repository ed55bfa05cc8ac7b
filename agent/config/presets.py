"""Presets: tasks that come with worldplan, each a YAML file in `worldplan.configs`."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import gymnasium as gym
from omegaconf import OmegaConf

from worldplan.envs import given_env

_ABOUT = "description", "suite", "needs"  # what a preset says of its task, besides settings
_NEEDS = {"box2d": "box2d", "dm_control": "dm-control"}  # extras, by suite


@dataclass(frozen=True)
class TaskInfo:
    """Summary of a preset. `needs` is the extra to install, "" for none."""

    name: str
    description: str
    suite: str
    env_id: str
    steps: int
    needs: str


def tasks() -> dict[str, TaskInfo]:
    """All tasks by name, sorted by suite (Gymnasium first) and name."""
    found = []
    for file in resources.files("worldplan.configs").iterdir():
        name = file.name.removesuffix(".yaml")
        if not _is_preset(file.name):
            continue
        preset = _read(file)
        found.append(
            TaskInfo(
                name=name,
                description=preset["description"],
                suite=preset["suite"],
                env_id=preset["env"]["id"],
                steps=preset["steps"],
                needs=preset.get("needs", _NEEDS.get(preset["suite"], "")),
            )
        )
    found.sort(key=lambda task: (task.suite != "gymnasium", task.suite, task.name))
    return {task.name: task for task in found}


def load_preset(name: str) -> dict[str, Any]:
    """Settings of a task's preset, and of its suite where the preset does not set them.

    Raises:
        ValueError: no such preset; the message gives the nearest one.
    """
    folder = resources.files("worldplan.configs")
    names = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if _is_preset(f.name))
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"no task preset is called {name!r}.{hint} Presets: {', '.join(names)}. "
            "Any Gymnasium environment: worldplan train --env ID"
        )
    return _with_suite(name, _read(folder / f"{name}.yaml"))


def _is_preset(file: str) -> bool:
    return file.endswith(".yaml") and not file.startswith(("suite-", "size-"))


def of_size(name: str) -> dict[str, Any]:
    """Settings of a size, which stand above those of presets; of "small" none, as of no size."""
    file = resources.files("worldplan.configs") / f"size-{name}.yaml"
    return _read(file) if file.is_file() else {}


def of_environment(env_id: str) -> dict[str, Any]:
    """Settings of an environment without a preset: those of its suite.

    The suite is what stands before the slash of its id, or else Gymnasium.
    """
    suite = env_id.rpartition(":")[2].partition("/")[0]
    if not (resources.files("worldplan.configs") / f"suite-{suite}.yaml").is_file():
        suite = "gymnasium"
    return _with_suite(env_id, {"suite": suite, "env": {"id": env_id}})


def of_task(given: object) -> dict[str, Any]:
    """Settings of a preset, a Gymnasium id, an environment, or a function that makes one.

    A text is a preset if one has that name, and otherwise an id if it looks like one.

    Raises:
        ValueError: none of these.
    """
    if isinstance(given, str):
        is_id = ":" in given or "/" in given or re.search(r"-v\d+$", given) or given in gym.registry
        if is_id and given not in tasks():
            return of_environment(given)
        return load_preset(given)
    env = given_env(given)
    found = of_environment(env.id)
    # What is only the default does not stand above the suite.
    return {**found, "env": {**found["env"], **env.model_dump(exclude_unset=True)}}


def _with_suite(task: str, preset: dict[str, Any]) -> dict[str, Any]:
    """A task's settings, and its suite's where it does not set them."""
    suite = _read(resources.files("worldplan.configs") / f"suite-{preset['suite']}.yaml")
    merged = OmegaConf.to_container(OmegaConf.merge(suite, preset))
    assert isinstance(merged, dict)
    settings = {str(k): v for k, v in merged.items() if k not in _ABOUT}
    return {"task": task, **settings}


def _read(file: Traversable) -> dict[str, Any]:
    found = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
    assert isinstance(found, dict)
    return {str(k): v for k, v in found.items()}
