"""Files of a run: `curve.csv` and `diagnostics.csv` of evaluations, `episodes.csv` of collected
episodes."""

from __future__ import annotations

import math
from pathlib import Path

from worldplan.agent.training.curve import Curve
from worldplan.agent.training.events import EpisodeEvent, EvaluationEvent, Listener, Run


def curve_row(event: EvaluationEvent) -> dict[str, float]:
    """A row of the learning curve. `policy_return` is NaN without a policy."""
    planner, policy = event.planner, event.policy
    return {
        "step": event.step,
        "frames": event.frames,
        "return": float(planner.returns.mean()),
        "min": float(planner.returns.min()),
        "max": float(planner.returns.max()),
        "length": float(planner.lengths.mean()),
        "policy_return": math.nan if policy is None else float(policy.returns.mean()),
        "predicted": float(planner.predicted.mean()),
        "realised": float(planner.realised.mean()),
    }


def diagnostics_row(event: EvaluationEvent) -> dict[str, float]:
    """What explains a row of the learning curve, see `diagnose_policy` and `optimism`."""
    biases = {f"optimism_{n}": event.optimism.get(f"after_{n}", math.nan) for n in (1, 8, 64)}
    return {"step": event.step, **event.heads, **biases}


class CurveFiles(Listener):
    """Writes the CSV files.

    Columns depend on seed and configuration alone, not on the clock: a resumed run writes the same
    bytes as an uninterrupted one. Times are in TensorBoard.
    """

    returns_soon = True

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def on_start(self, run: Run) -> None:
        resumed = run.step or None
        self.curve = Curve(self.run_dir / "curve.csv", resumed)
        self.episodes = Curve(self.run_dir / "episodes.csv", resumed)
        self.diagnostics = Curve(self.run_dir / "diagnostics.csv", resumed)

    def on_episode(self, event: EpisodeEvent) -> None:
        self.episodes.append({"step": event.step, "return": event.total, "length": event.length})

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self.curve.append(curve_row(event))
        self.diagnostics.append(diagnostics_row(event))
