"""Run folders with a curve of given numbers."""

import json
from pathlib import Path
from typing import Any

from worldplan.agent.training.curve import Curve


def write_run(
    folder: Path,
    task: str,
    seed: int,
    curve: dict[int, float],
    *,
    env: str = "dm_control/x-v0",
    solved: bool = False,
    finished: bool = True,
    **agent: Any,
) -> Path:
    """A run folder with an evaluation at each of the curve's steps; two frames a step."""
    run = folder / f"{task}-{seed}-{'-'.join(map(str, agent.values()))}"
    rows, episodes = Curve(run / "curve.csv"), Curve(run / "episodes.csv")
    for step, value in curve.items():
        rows.append({"step": step, "frames": 2 * step, "return": value, "policy_return": value / 4})
        episodes.append({"step": step, "return": value - 1, "length": 1})
    config = {"task": task, "seed": seed, "env": {"id": env}, "agent": agent}
    (run / "config.yaml").write_text(json.dumps(config))
    if finished:
        last = list(curve.items())[-1]
        result = {
            **{"mean": last[1], "iqm": last[1], "ci95": [1, 2], "returns": [last[1]]},
            **{"frames": 2 * last[0], "total_seconds": 120, "solved": solved},
        }
        (run / "result.json").write_text(json.dumps(result))
    return run
