"""Keeps the agent of the best evaluation, since returns may fall again before a run ends."""

from __future__ import annotations

from math import inf

from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.events import EvaluationEvent, Listener, Run

BEST = "best"  # in the run's folder


class BestAgent(Listener):
    """Saves the agent to `best` at an evaluation whose mean return no earlier one exceeds.

    `worldplan.load` reads it from there. A few episodes are few: the best of many evaluations
    returned more than it will again. It comes after `CurveFiles`, from which a resumed run learns
    what was best.
    """

    returns_soon = True  # a row of the curve without its agent would never be mended

    def on_start(self, run: Run) -> None:
        super().on_start(run)
        curve = run.run_dir / "curve.csv"
        rows = read_curve(curve) if run.step and curve.is_file() else []
        self.most = max((row["return"] for row in rows), default=-inf)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        mean = float(event.planner.returns.mean())
        if mean >= self.most:
            self.run.agent.save(self.run.run_dir / BEST)
            self.most = mean
