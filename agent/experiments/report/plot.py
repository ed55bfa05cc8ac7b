"""The picture of learning curves: a panel for each task, and one over tasks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldplan.agent.data.atomic import written_whole
from worldplan.agent.experiments.figure import COLOURS, STYLE, plain, pyplot
from worldplan.agent.experiments.report.curves import Group, over_tasks
from worldplan.agent.experiments.report.published import PUBLISHED

_MARKERS = "*sPXvdh<>^pD8H|_"  # of published methods


def plot_report(groups: Sequence[Group], path: Path) -> None:
    """Mean and 95% band over seeds; thin lines are single seeds, grey dots exploring episodes."""
    plt = pyplot()
    tasks = list(dict.fromkeys(g.task for g in groups))
    overall = over_tasks(groups)
    panels = len(tasks) + (overall is not None)
    columns = min(3, panels)
    rows = math.ceil(panels / columns)
    methods = {m: None for task in tasks for m in PUBLISHED.get(task, {})}
    markers = dict(zip(methods, itertools.cycle(_MARKERS), strict=False))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(3.4 * columns, 2.7 * rows + 0.4), layout="constrained",
            squeeze=False,
        )  # fmt: skip
        for spare in axes.flat[panels:]:
            spare.axis("off")
        drawn: dict[str, Any] = {}  # legend, by label
        for task, panel in zip(tasks, axes.flat, strict=False):
            here = [g for g in groups if g.task == task]
            _draw_task(panel, here, drawn)
            _draw_published(panel, here, markers, drawn)
            panel.set(title=plain(task), xlabel="frames / 1000", ylabel="return")
        if overall is not None:
            frames, middle, low, high = overall
            panel = axes.flat[panels - 1]
            panel.fill_between(frames / 1000, low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
            panel.plot(frames / 1000, middle, "o-", color=COLOURS[0], markersize=3)
            panel.set(title="dm_control tasks together", xlabel="frames / 1000")
            panel.set(ylabel="IQM of return / 1000", ylim=(0, 1))
        longest = max(map(len, drawn))
        figure.legend(
            drawn.values(), drawn.keys(), loc="outside lower center", frameon=False, fontsize=8,
            ncols=max(1, int(50 * columns / (longest + 8))),  # some 50 letters to a panel
        )  # fmt: skip
        with written_whole(path) as draft:
            figure.savefig(draft, dpi=120)
        plt.close(figure)


def _draw_task(panel: Any, groups: Sequence[Group], drawn: dict[str, Any]) -> None:
    for i, g in enumerate(groups):
        color = COLOURS[i % len(COLOURS)]
        for run in g.runs:
            if len(groups) == 1:
                (dots,) = panel.plot(
                    run.episodes[0] / 1000, run.episodes[1], ".", color="0.85", markersize=2,
                    zorder=1,
                )  # fmt: skip
                drawn.setdefault("episodes while exploring", dots)
            panel.plot(run.frames / 1000, run.returns, color=color, linewidth=0.7, alpha=0.6)
        frames, mean, low, high = g.band()
        panel.fill_between(frames / 1000, low, high, color=color, alpha=0.2, linewidth=0)
        (line,) = panel.plot(frames / 1000, mean, "o-", color=color, markersize=3)
        drawn.setdefault(plain(g.label) or "worldplan, mean and 95% over seeds", line)


def _draw_published(
    panel: Any, groups: Sequence[Group], markers: dict[str, str], drawn: dict[str, Any]
) -> None:
    """Points as far as the runs go, so that these fill the panel."""
    last = max(run.frames[-1] for g in groups for run in g.runs)
    for method, points in PUBLISHED.get(groups[0].task, {}).items():
        near = {at: value for at, value in points.items() if at <= 1.1 * last}
        if near:
            (line,) = panel.plot(
                [at / 1000 for at in near], list(near.values()), markers[method],
                color="0.4", markersize=6, zorder=4, markeredgecolor="white", markeredgewidth=0.5,
                clip_on=False,
            )  # fmt: skip
            if method == "TD-MPC2":  # the one to beat
                line.set(color="black", markersize=10, zorder=5)
            drawn.setdefault(method, line)
