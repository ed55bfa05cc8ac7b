"""The learning curve as a picture."""

from __future__ import annotations

import math
from pathlib import Path

from worldplan.agent.data.atomic import written_whole
from worldplan.agent.experiments.figure import new_figure, plain
from worldplan.agent.training.curve import read_curve


def plot_curve(run_dir: Path) -> Path | None:
    """Draws `curve.csv` and `episodes.csv` of a run to `curve.png`; None without a curve."""
    curve = read_curve(run_dir / "curve.csv") if (run_dir / "curve.csv").exists() else []
    if not curve:
        return None
    episodes = read_curve(run_dir / "episodes.csv")
    figure = new_figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [e["step"] for e in episodes], [e["return"] for e in episodes],
        ".", color="0.75", markersize=3, label="while exploring, each episode",
    )  # fmt: skip
    steps = [row["step"] for row in curve]
    axes.fill_between(
        steps, [r["min"] for r in curve], [r["max"] for r in curve],
        color="C0", alpha=0.15, linewidth=0, label="planner, worst to best episode",
    )  # fmt: skip
    axes.plot(steps, [r["return"] for r in curve], "o-", color="C0", label="planner, held-out mean")
    policy = [r["policy_return"] for r in curve]
    if not all(math.isnan(r) for r in policy):
        axes.plot(steps, policy, "--", color="C1", label="policy alone")
    axes.set(xlabel="decisions", ylabel="return", title=plain(run_dir.name))
    axes.legend(frameon=False, fontsize=8)
    path = run_dir / "curve.png"
    with written_whole(path) as draft:
        figure.savefig(draft, dpi=120)
    return path
