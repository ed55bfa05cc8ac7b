"""The figure of a comparison: what the planner returns, and how well the model predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldplan.agent.data.atomic import written_whole
from worldplan.agent.experiments.compare.table import Pair, Row, say_p
from worldplan.agent.experiments.figure import COLOURS, STYLE, plain, pyplot

# Shapes differ too, not colours alone.
_STYLE: dict[bool, dict[str, Any]] = {
    True: {"color": COLOURS[0], "marker": "o"},
    False: {"color": COLOURS[1], "marker": "D"},
}
_GREY = "0.35"


def plot_comparison(rows: Sequence[Row], pairs: Sequence[Pair], path: Path) -> None:
    """One column of two panels for each task; one line for each family and planner."""
    from matplotlib import ticker

    plt = pyplot()
    tasks = list(dict.fromkeys(row.task for row in rows))
    planners = {row.planner for row in rows}
    # Families with the action variable stand above those without.
    lines = list(
        dict.fromkeys(
            (row.family, row.planner) for row in sorted(rows, key=lambda row: not row.uses_action)
        )
    )
    place = {line: len(lines) - 1 - i for i, line in enumerate(lines)}
    names = [f"{family}, {planner}" if len(planners) > 1 else family for family, planner in lines]
    height = 0.36 * len(lines) + 0.75
    columns = (1, 2, 4)[min(len(tasks), 3) - 1]  # of the legend
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            2, len(tasks), figsize=(1.6 + 2.5 * len(tasks), 2 * height + 0.35 + 1.6 / columns),
            layout="constrained", squeeze=False, sharey=True,
        )  # fmt: skip
        for column, task in enumerate(tasks):
            here = [row for row in rows if row.task == task]
            above, below = axes[:, column]
            for row in here:
                y = place[row.family, row.planner]
                _draw_returns(above, row, y)
                _draw_errors(below, row, y)
            _draw_chance(above, here)
            tests = [(pair, pair.by_task[task]) for pair in pairs if task in pair.by_task]
            steps = max(row.steps for row in here)
            above.set_title(f"{plain(task)}, {steps:,} steps", fontsize=10, fontweight="bold")
            above.set_xlabel("return\n" + "\n".join(_say_test(*test, pairs) for test in tests))
            below.axvline(1, color=_GREY, linewidth=1, linestyle=":")
            below.set(xscale="log", xlabel="prediction error / spread")
            below.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 3)))
            below.xaxis.set_major_formatter("{x:g}")
            below.xaxis.set_minor_locator(ticker.NullLocator())
        axes[0, 0].set_yticks([place[line] for line in lines], names)
        axes[0, 0].set_ylim(-0.6, len(lines) - 0.4)
        for panel in axes.flat:
            panel.tick_params(axis="y", length=0)
            panel.grid(axis="y", color="0.92")
            panel.set_axisbelow(True)
        figure.legend(
            handles=_legend(), loc="outside lower center", frameon=False, fontsize=8,
            ncols=columns, columnspacing=1.2, handletextpad=0.5,
        )  # fmt: skip
        with written_whole(path) as draft:
            figure.savefig(draft, dpi=160)
        plt.close(figure)


def _draw_returns(panel: Any, row: Row, y: float) -> None:
    style, (low, high) = _STYLE[row.uses_action], row.interval
    panel.plot([low, high], [y, y], color=style["color"], linewidth=2.5, solid_capstyle="butt")
    panel.plot(
        row.seed_means, np.full(len(row.returns), y), "|", color=style["color"], markersize=9
    )
    panel.plot(row.mean, y, **style, markersize=7)


def _draw_errors(panel: Any, row: Row, y: float) -> None:
    one, ten = row.measures["error_1_x"], row.measures["error_10_x"]
    style = _STYLE[row.uses_action]
    panel.plot([one, ten], [y, y], color=style["color"], linewidth=1)
    panel.plot(one, y, **style, markersize=7)
    panel.plot(ten, y, **style, markersize=7, markerfacecolor="white")


def _draw_chance(panel: Any, rows: Sequence[Row]) -> None:
    for who, line in (("random", ":"), ("chance", "--")):
        # A simulator's planner looks further, and is another chance.
        mean = np.mean([getattr(row, who) for row in rows if row.kind != "simulator"] or [np.nan])
        panel.axvline(mean, color=_GREY, linewidth=1.2, linestyle=line, zorder=0)


def _say_test(pair: Pair, p: float, pairs: Sequence[Pair]) -> str:
    who = f"{pair.kind} ± a" if len(pairs) > 1 else "with a against without"
    if len({pair.planner for pair in pairs}) > 1:
        who = f"{who}, {pair.planner}"
    return f"{who}: {say_p(p)}"


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    def line(label: str, **style: Any) -> Line2D:
        return Line2D([], [], label=label, **{"color": _GREY, "linestyle": "", **style})

    return [
        line("with the action variable", **_STYLE[True], markersize=7),
        line("without", **_STYLE[False], markersize=7),
        line("mean and 95% interval", linestyle="-", linewidth=2.5),
        line("each seed", marker="|", markersize=9),
        line("random actions; guessing the mean", linestyle=":"),
        line("constant-cost baseline", linestyle="--"),
        line("1 step ahead", marker="o", markersize=7),
        line("10 steps ahead", marker="o", markersize=7, markerfacecolor="white"),
    ]
