"""What keeps an encoder that never saw a reward from collapsing, and whether it can be planned in.

    python benchmarks/goals.py [--tasks two-rooms reach] [--methods vicreg sigreg] [KEY=VALUE]

For each task: data of aimless noise; a model of triples (x, a, x') for each method; then held-out
pairs of start and goal, planned as one batch by the distance of embeddings. Beside them: random
actions, and the best model with the distance of decoded observations for its cost. Results go to
one JSON file a task, so that tasks can be run one by one; table and figure are of all that is there
(`--draw` runs nothing).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor
from watched import Watched

from worldplan.agent import Agent, load
from worldplan.agent.config import RunConfig, load_preset, resolve
from worldplan.agent.dataset import Episode, collect
from worldplan.agent.diagnostics import effective_rank
from worldplan.agent.evaluate import Evaluation, evaluate, held_out_seeds
from worldplan.agent.figure import pyplot
from worldplan.agent.fit import TRIPLES_ALONE, fit
from worldplan.agent.probe import Probe, fit_probe
from worldplan.agent.record import write_json
from worldplan.agent.statistics import bootstrap_ci
from worldplan.envs import make_env
from worldplan.envs.rooms import DOOR, WALL

# What a method changes of the preset. SimNorm and layer norm bound the embedding and no more:
# slowness, with nothing to push apart, would shrink it to a point.
METHODS: dict[str, list[str]] = {
    "simnorm": ["model.anti_collapse=simnorm", "model.slowness=0"],
    "layernorm": ["model.anti_collapse=layernorm", "model.slowness=0"],
    "vicreg": ["model.anti_collapse=vicreg"],
    "sigreg": ["model.anti_collapse=sigreg", "model.sigreg=10", "model.slowness=0"],
    "none": ["model.anti_collapse=none"],
}
UNSEEN = 1000  # first of the held-out pairs: settings were chosen on those before
COLUMNS = {
    "rank": ("effective rank", "{:.1f}"),
    "spread": ("spread", "{:.2f}"),
    "r2": ("probe R²", "{:.3f}"),
    "success": ("success", "{:.0%}"),
    "ci95": ("95% interval", "{0[0]:.0%} to {0[1]:.0%}"),
    "decisions": ("decisions", "{:.1f}"),
    "ms": ("ms a decision, all pairs", "{:.0f}"),
    "fit_seconds": ("fit, s", "{:.0f}"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--tasks", nargs="+", default=["two-rooms", "reach"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/goals"))
    parser.add_argument("--runs", type=Path, default=Path("runs/goals"), help="of the models")
    parser.add_argument("--draw", action="store_true", help="table and figure only")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.draw:
        for task in args.tasks:
            measure(task, args)
    results = [json.loads(path.read_text()) for path in sorted(args.out.glob("*.json"))]
    text = "\n\n".join(table(result) for result in results)
    (args.out / "table.md").write_text(text + "\n")
    print(text)
    draw(results, args.out / "goals.png")


def measure(task: str, args: argparse.Namespace) -> None:
    """One task: everything that the table and the figure show of it, to TASK.json."""
    base = resolve(load_preset(task), [*args.overrides, *TRIPLES_ALONE])
    episodes = collect(base.env, base.steps, "noise", base.seed)
    path = args.out / f"{task}.json"
    result: dict[str, Any] = {
        "task": task, "seed": base.seed, "transitions": base.steps, "updates": args.updates,
        "pairs": args.pairs, "planner": base.agent.planner.model_dump(mode="json"), "rows": {},
    }  # fmt: skip
    best: tuple[float, str, Agent, Probe] | None = None
    for method in args.methods:
        config = resolve(load_preset(task), [*args.overrides, *METHODS[method], *TRIPLES_ALONE])
        began = time.perf_counter()
        run_dir = args.runs / f"{task}-{method}"
        fit(config, episodes, run_dir, args.updates, Console(quiet=True))
        seconds = time.perf_counter() - began
        agent = load(run_dir, compiled=True)
        row, probe = read(agent, episodes, base.seed)
        result["rows"][method] = {
            **row, "fit_seconds": seconds, **play(agent, config, args.pairs),
            "map": goal_map(agent) if task == "two-rooms" else None,
        }  # fmt: skip
        print(task, method, {k: v for k, v in result["rows"][method].items() if k in COLUMNS})
        write_json(path, result, indent=None)  # long lists
        if best is None or row_success(result, method) > best[0]:
            best = row_success(result, method), method, agent, probe
    if best is not None:
        _, method, agent, probe = best
        result["rows"][f"{method}, decoded"] = play(agent, base, args.pairs, probe)
        result["rows"]["random actions"] = play(agent, base, args.pairs, actor="random")
        write_json(path, result, indent=None)  # long lists


def row_success(result: dict[str, Any], method: str) -> float:
    return float(result["rows"][method]["success"])


@torch.no_grad()
def read(agent: Agent, episodes: list[Episode], seed: int) -> tuple[dict[str, float], Probe]:
    """Rank, spread and a probe of features for what is observed: here the simulator's state."""
    x = torch.from_numpy(np.concatenate([e.observation for e in episodes]))
    h = agent.model.encode(x)
    probe = fit_probe(agent.model.features(h, agent.model.initial_state(h)), x, seed)
    some = h[:: max(1, len(h) // 2000)]
    spread = float(some.std(0).mean() / some.square().mean().sqrt().clamp(min=1e-12))
    return {"rank": effective_rank(some), "spread": spread, "r2": probe.r2}, probe


def play(
    agent: Agent, config: RunConfig, pairs: int, probe: Probe | None = None, actor: Any = "planner"
) -> dict[str, Any]:
    """Success over held-out pairs, and where the bodies went; through a probe by its distance."""
    env = Watched([make_env(config.env) for _ in range(pairs)])
    seeds = held_out_seeds(pairs, first=UNSEEN)
    env.reset(seeds)
    goals = env.goals()
    assert goals is not None
    agent.aim(None)
    if probe is not None:
        goal = torch.from_numpy(goals)[:, None]

        def cost(x: Tensor) -> Tensor:
            """Squared distance (T, R) to each plan's goal (B, 1, D)."""
            away = x.view(len(x), pairs, -1, x.shape[-1]) - goal
            return away.square().sum(-1).flatten(1)

        agent.minimise(cost, probe)
    played: Evaluation = evaluate(agent, env, seeds, actor)
    reached = played.returns > 0
    env.close()
    return {
        "success": float(reached.mean()),
        "ci95": list(bootstrap_ci(reached)),
        "decisions": float(played.lengths[reached].mean()) if reached.any() else None,
        "ms": 1e3 * played.seconds / int(played.lengths.max()),
        "paths": np.stack(env.seen, 1)[:12, :, :2].astype(np.float64).round(3).tolist(),
        "lengths": played.lengths[:12].tolist(),
        "goals": goals[:12, :2].astype(np.float64).round(3).tolist(),
    }


@torch.no_grad()
def goal_map(agent: Agent, points: int = 60) -> list[list[float]]:
    """Distance of embeddings (y, x) over the two rooms to a goal behind the wall, largest 1."""
    axis = torch.linspace(-0.95, 0.95, points)
    grid = torch.cartesian_prod(axis, axis).flip(1)
    goal = agent.model.encode(torch.tensor(MAP_GOAL))
    away = (agent.model.encode(grid) - goal).square().sum(-1).sqrt().view(points, points)
    shown: list[list[float]] = (
        (away / away.max().clamp(min=1e-12)).double().numpy().round(3).tolist()
    )
    return shown


MAP_GOAL = [0.4, -0.6]


def table(result: dict[str, Any]) -> str:
    """In Markdown."""
    head = [result["task"], *(title for title, _ in COLUMNS.values())]
    lines = [head, ["---"] * len(head)]
    for name, row in result["rows"].items():
        cells = (
            "" if row.get(k) is None else form.format(row[k]) for k, (_, form) in COLUMNS.items()
        )
        lines.append([name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Success of each task above; below what the rooms look like to each method, and its ways."""
    rooms = next((r for r in results if r["task"] == "two-rooms"), None)
    mapped = [m for m, row in rooms["rows"].items() if row.get("map")] if rooms else []
    columns = max(len(mapped), 2)
    plt = pyplot()
    figure = plt.figure(figsize=(2.7 * columns, 6), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[1, 1.15])
    upper, lower = halves
    for panel, result in zip(
        upper.subplots(1, len(results), squeeze=False)[0], results, strict=True
    ):
        bars(panel, result)
    if rooms is not None and mapped:
        title = "distance of embeddings to the cross (dark: near); ways from dots to squares"
        lower.suptitle(title, fontsize=10)
        panels = lower.subplots(1, columns, squeeze=False)[0]
        for panel, method in zip(panels, mapped, strict=False):
            ways(panel, method, rooms["rows"][method])
        for spare in panels[len(mapped) :]:
            spare.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"drawn to {path}")


def bars(panel: Any, result: dict[str, Any]) -> None:
    rows = result["rows"]
    success = np.array([row["success"] for row in rows.values()])
    ends = np.array([row["ci95"] for row in rows.values()])
    colours = ["C0" if "map" in row else "0.7" for row in rows.values()]
    place = range(len(rows))
    errors = np.clip([success - ends[:, 0], ends[:, 1] - success], 0, None)
    panel.barh(place, success, color=colours, xerr=errors, error_kw={"lw": 1})
    panel.set_yticks(place, list(rows))
    panel.invert_yaxis()
    panel.set(xlim=(0, 1), title=f"{result['task']}: goals reached, of {result['pairs']}")
    panel.spines[["top", "right"]].set_visible(False)


def ways(panel: Any, method: str, row: dict[str, Any]) -> None:
    """Of the first pairs through the rooms, over the distance map."""
    grid: NDArray[np.float64] = np.array(row["map"])
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


if __name__ == "__main__":
    main()
