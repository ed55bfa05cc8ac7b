"""Run folders with a curve of given numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset, tasks
from worldplan.agent.config.saved import plain
from worldplan.agent.training.curve import Curve


def write_run(
    folder: Path,
    task: str,
    seed: int,
    curve: dict[int, float],
    *,
    env: str = "dm_control/x-v0",
    kwargs: Mapping[str, Any] | None = None,
    solved: bool = False,
    finished: bool = True,
    **agent: Any,
) -> Path:
    """A run folder with an evaluation at each of the curve's steps; two frames a step.

    `agent` is put over the settings of the preset, if the task is one, or else the defaults.
    """
    run = folder / f"{task}-{seed}-{'-'.join(map(str, agent.values()))}"
    rows, episodes = Curve(run / "curve.csv"), Curve(run / "episodes.csv")
    for step, value in curve.items():
        rows.append({"step": step, "frames": 2 * step, "return": value, "policy_return": value / 4})
        episodes.append({"step": step, "return": value - 1, "length": 1})
    base: dict[str, Any] = load_preset(task) if task in tasks() else {"task": task}
    made = {**base.get("env", {}), "id": env, "kwargs": dict(kwargs or {})}
    config = plain(resolve(base | {"env": made, "seed": seed}))
    OmegaConf.save(OmegaConf.merge(config, {"agent": agent}), run / "config.yaml")
    if finished:
        last = list(curve.items())[-1]
        result = {
            **{"mean": last[1], "iqm": last[1], "ci95": [1, 2], "returns": [last[1]]},
            **{"frames": 2 * last[0], "total_seconds": 120, "solved": solved},
        }
        (run / "result.json").write_text(json.dumps(result))
    return run
