"""Learning curves of all committed runs, in one picture, and their table.

    python benchmarks/curves.py [--results benchmarks/results] [--out docs/curves.png]

A run is committed by copying curve.csv, episodes.csv, result.json and config.yaml of its folder to
benchmarks/results/TASK/seed-N/.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from worldplan.agent.curve import read_curve

# Mean returns of TD-MPC2 at simulator frames, from its own result files (Hansen et al. 2024,
# https://github.com/nicklashansen/tdmpc2, results/tdmpc2). Hopper-v5: SAC, a figure for 50k steps.
PUBLISHED: dict[str, tuple[str, dict[int, float]]] = {
    "cartpole-swingup": ("TD-MPC2", {50_000: 812}),
    "ball-in-cup-catch": ("TD-MPC2", {50_000: 954}),
    "cheetah-run": ("TD-MPC2", {50_000: 366, 100_000: 519}),
    "hopper": ("SAC", {50_000: 530}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--out", type=Path, default=Path("docs/curves.png"))
    args = parser.parse_args()
    tasks = sorted(d for d in args.results.iterdir() if list(d.glob("seed-*/curve.csv")))
    columns = min(3, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4 * columns, 3 * rows), layout="constrained", squeeze=False
    )
    for spare in axes.flat[len(tasks) :]:
        spare.axis("off")
    for task, panel in zip(tasks, axes.flat, strict=False):
        draw(task, panel)
    axes.flat[0].legend(frameon=False, fontsize=8)
    figure.savefig(args.out, dpi=110)
    print(f"drawn to {args.out}")


def draw(task: Path, panel: Any) -> None:
    """One task: held-out return of the planner by simulator frames, and a line of the table."""
    for i, seed in enumerate(sorted(task.glob("seed-*"))):
        curve = read_curve(seed / "curve.csv")
        if not curve:  # not yet evaluated
            continue
        frames = [row["frames"] for row in curve]
        panel.plot(
            frames, [row["return"] for row in curve], "o-", markersize=3, label=seed.name, zorder=3
        )
        per_step = frames[0] / curve[0]["step"]
        episodes = read_curve(seed / "episodes.csv")
        panel.plot(
            [e["step"] * per_step for e in episodes], [e["return"] for e in episodes],
            ".", markersize=2, color="0.8", label="collecting" if i == 0 else None, zorder=1,
        )  # fmt: skip
        at = " ".join(f"{row['frames'] / 1000:.0f}k:{row['return']:.0f}" for row in curve)
        end = ""
        if (seed / "result.json").exists():
            result = json.loads((seed / "result.json").read_text())
            minutes = result["total_seconds"] / 60
            end = f"  final {result['mean']:.0f} ({minutes:.0f} min)"
        print(f"{task.name} {seed.name}: {at}{end}")
    name, points = PUBLISHED.get(task.name, ("", {}))
    if points:
        panel.plot(list(points), list(points.values()), "k*", markersize=8, label=name, zorder=4)
    panel.set(title=task.name, xlabel="frames", ylabel="return")


if __name__ == "__main__":
    main()
