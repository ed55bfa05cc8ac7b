"""The table and the figure of `goals.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from worldplan.agent.evaluation.statistics import bootstrap_ci
from worldplan.agent.experiments.figure import pyplot
from worldplan.envs.tasks.rooms import DOOR, WALL

COLUMNS = {
    "rank": ("effective rank", "{:.1f}"),
    "spread": ("spread", "{:.2f}"),
    "r2": ("probe R²", "{:.3f}"),
    "decisions": ("decisions", "{:.1f}"),
    "ms": ("ms a decision, all pairs", "{:.0f}"),
    "fit_seconds": ("fit, s", "{:.0f}"),
}
Result = dict[str, Any]  # of one task and seed
MAP_GOAL = [0.4, -0.6]


def rows_of(results: list[Result], name: str) -> list[dict[str, Any]]:
    return [result["rows"][name] for result in results if name in result["rows"]]


def names_in(results: list[Result]) -> list[str]:
    """Of all rows, in the first seed's order; those of no model last."""
    found = dict.fromkeys(name for result in results for name in result["rows"])
    return sorted(found, key=lambda name: "rank" not in rows_of(results, name)[0])


def interval(results: list[Result], name: str) -> tuple[float, float]:
    """95% of the success over all seeds' pairs."""
    pairs = results[0]["pairs"]
    reached = [np.arange(pairs) < round(row["success"] * pairs) for row in rows_of(results, name)]
    return bootstrap_ci(np.concatenate(reached))


def table(results: list[Result]) -> str:
    """Of a task's seeds, in Markdown: success of each, and means of the rest."""
    titles = ["success", "95% interval", *(title for title, _ in COLUMNS.values())]
    lines = [[results[0]["task"], *titles], ["---"] * (1 + len(titles))]
    for name in names_in(results):
        rows = rows_of(results, name)
        line = [name, ", ".join(f"{100 * row['success']:.0f}" for row in rows) + "%"]
        line.append("{:.0%} to {:.0%}".format(*interval(results, name)))
        for key, (_, form) in COLUMNS.items():
            known = [row[key] for row in rows if row.get(key) is not None]
            line.append(form.format(np.mean(known)) if known else "")
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(found: dict[str, list[Result]], path: Path) -> None:
    """Success of each task above; below what the rooms look like to each method, and its ways."""
    rooms: dict[str, Any] = next(
        (results[0]["rows"] for task, results in found.items() if "two-rooms" in task), {}
    )
    mapped = [method for method, row in rooms.items() if row.get("map")]
    columns, heights = max(len(mapped), 4), [2.8, 3.2] if mapped else [2.8]
    plt = pyplot()
    figure = plt.figure(figsize=(2.7 * columns, sum(heights)), layout="constrained")
    halves: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    panels = halves[0, 0].subplots(1, len(found), squeeze=False)[0]
    for panel, results in zip(panels, found.values(), strict=True):
        bars(panel, results)
    if mapped:
        title = "distance to the cross, in steps (dark: near); ways from dots to squares"
        halves[1, 0].suptitle(title, fontsize=10)
        panels = halves[1, 0].subplots(1, columns, squeeze=False)[0]
        for panel, method in zip(panels, mapped, strict=False):
            ways(panel, method, rooms[method])
        for spare in panels[len(mapped) :]:
            spare.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"drawn to {path}")


def bars(panel: Any, results: list[Result]) -> None:
    """Means over seeds, their 95% intervals, and the seeds as dots."""
    names = names_in(results)
    for place, name in enumerate(names):
        rows = rows_of(results, name)
        success = np.array([row["success"] for row in rows])
        low, high = interval(results, name)
        mean = success.mean()
        errors = np.clip([[mean - low], [high - mean]], 0, None)
        colour = "C0" if "map" in rows[0] else "0.7"
        panel.barh(place, mean, color=colour, xerr=errors, error_kw={"lw": 1})
        panel.plot(success, [place] * len(success), "k.", ms=4)
    panel.set_yticks(range(len(names)), names)
    panel.invert_yaxis()
    title = f"{results[0]['task']}: goals reached, of {results[0]['pairs']}"
    panel.set(xlim=(0, 1), title=title)
    panel.spines[["top", "right"]].set_visible(False)


def ways(panel: Any, method: str, row: dict[str, Any]) -> None:
    """Of the first pairs through the rooms, over the distance map."""
    grid: NDArray[np.float64] = np.array(row["map"], np.float64)  # None: nothing was seen there
    panel.imshow(grid, origin="lower", extent=(-1, 1, -1, 1), cmap="viridis", vmin=0, vmax=1)
    for y, top in ((-1.0, DOOR[0]), (DOOR[1], 1.0)):
        panel.add_patch(Rectangle((-WALL, y), 2 * WALL, top - y, color="0.3"))
    for way, length, goal in zip(row["paths"], row["lengths"], row["goals"], strict=True):
        x, y = np.array(way[: length + 1]).T
        (line,) = panel.plot(x, y, "-", lw=1, color="white")
        panel.plot(x[0], y[0], "o", ms=3, color=line.get_color())
        panel.plot(*goal, "s", ms=3, color="tomato")
    panel.plot(*MAP_GOAL, "x", ms=8, color="black")
    panel.set(
        xticks=[], yticks=[], title=f"{method}: {row['success']:.0%}", xlim=(-1, 1), ylim=(-1, 1)
    )
