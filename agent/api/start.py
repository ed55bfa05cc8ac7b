"""What a run starts from, where that is another run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldplan.agent.config.saved import plain
from worldplan.agent.training.restore import config_of
from worldplan.agent.training.trust import require


def beginning(path: Path, task: Mapping[str, Any] | None, trust: bool = False) -> dict[str, Any]:
    """Settings of a run that starts with the weights of another one, before the user's own.

    Args:
        path: the run whose weights they are; the networks are its own too.
        task: the settings of a task; None: that of the other run, with all of its settings.
        trust: makes its environment, whatever module that imports.

    Raises:
        ValueError, FileNotFoundError: there is no such run, or it is not trusted.
    """
    before = config_of(path)
    known = {"start_from": str(path), "run_dir": None, "data": None}
    if task is None:
        require(before.env, path, trust=trust)
        return {**plain(before), **known}
    networks = plain(before)["agent"]
    agent = {**task.get("agent", {}), "model": networks["model"], "heads": networks["heads"]}
    return {**task, **known, "agent": agent}
