r"""What keeps an encoder that never saw a reward from collapsing, and whether it can be planned in.

    python benchmarks/goals.py [--tasks two-rooms reach] [--seeds 0 1] [KEY=VALUE]
    python benchmarks/goals.py --tasks two-rooms-pixels reach-pixels --seeds 0 --updates 5000 \
        --first 2000 --out benchmarks/results/goals-pixels --figure docs/goals-pixels.png

For each task: data of aimless noise; a model of triples (x, a, x') for each method; then held-out
pairs of start and goal, planned as one batch by their distance. Beside them: random actions, and
the best model with the distance of decoded observations for its cost. A seed is that
of the data and of the model; the pairs stay the same. Results go to one JSON file a task and seed,
and what is there is not made again; table and figure are of all that is there. From pixels, what a
probe is to tell is the simulator's state, which the model never sees.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from goals_report import MAP_GOAL, Result, draw, table
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor
from watched import Watched

from worldplan.agent import Agent, load
from worldplan.agent.acting.collect import collect
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.atomic import write_json
from worldplan.agent.data.dataset import Episode
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.diagnostics import effective_rank
from worldplan.agent.evaluation.evaluate import Evaluation, evaluate
from worldplan.agent.evaluation.probe import Probe, fit_probe
from worldplan.agent.evaluation.statistics import bootstrap_ci
from worldplan.agent.training.offline.fit import TRIPLES_ALONE, fit
from worldplan.envs import EnvConfig, make_env, make_vector

# What a method changes of the preset. SimNorm and layer norm bound the embedding and no more:
# slowness, with nothing to push apart, would shrink it to a point.
METHODS: dict[str, list[str]] = {
    "simnorm": ["model.anti_collapse=simnorm", "model.slowness=0"],
    "layernorm": ["model.anti_collapse=layernorm", "model.slowness=0"],
    "vicreg": ["model.anti_collapse=vicreg", "model.slowness=5"],
    "sigreg": ["model.anti_collapse=sigreg", "model.sigreg=10", "model.slowness=0"],
    "infonce": ["model.anti_collapse=layernorm", "model.infonce=1", "model.slowness=3"],
    "none": ["model.anti_collapse=none", "model.slowness=5"],
}
MAPPED = ("two-rooms", "two-rooms-pixels")
DECODED, LAST = "decoded observations", "random actions"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--tasks", nargs="+", default=["two-rooms", "reach"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--first", type=int, default=1000, help="pair: no setting was chosen on it")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/goals"))
    parser.add_argument("--runs", type=Path, default=Path("runs/goals"), help="of the models")
    parser.add_argument("--figure", type=Path, default=Path("docs/goals.png"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for task in args.tasks:
            measure(task, seed, args)
    found: dict[str, list[Result]] = {}
    for path in sorted(args.out.glob("*.json")):
        result = json.loads(path.read_text())
        found.setdefault(result["task"], []).append(result)
    text = "\n\n".join(table(results) for results in found.values())
    (args.out / "table.md").write_text(text + "\n")
    print(text)
    draw(found, args.figure)


def measure(task: str, seed: int, args: argparse.Namespace) -> None:
    """One task and seed: all that the table and the figure show of it, to a JSON file."""
    path = args.out / f"{task}-seed{seed}.json"
    overrides = [*args.overrides, f"seed={seed}", *TRIPLES_ALONE]
    base = resolve(load_preset(task), overrides)
    result: Result = {
        "task": task, "seed": seed, "transitions": base.steps, "updates": args.updates,
        "pairs": args.pairs, "first": args.first,
        "planner": base.agent.planner.model_dump(mode="json"), "rows": {},
    }  # fmt: skip
    if path.exists():
        asked, result = result, json.loads(path.read_text())
        for key in ("updates", "pairs", "first"):
            if asked[key] != result[key]:
                raise ValueError(f"{path} has {key}={result[key]}, got {asked[key]}")
    rows = result["rows"]
    if {*args.methods, LAST} <= set(rows):
        return
    pairs = held_out_seeds(args.pairs, first=args.first)
    episodes = collect(base.env, base.steps, "noise", seed)
    # The same episodes, as numbers: the noise does not depend on what is seen.
    plain = base.env.model_copy(update={"observe": "observation", "frame_stack": 1})
    states = torch.from_numpy(seen(collect(plain, base.steps, "noise", seed)))

    def keep(name: str, row: dict[str, Any]) -> None:
        rows[name] = row
        print(f"{task}, seed {seed}, {name}: {row['success']:.0%}", flush=True)
        write_json(path, result, indent=None)  # long lists

    for method in args.methods:
        if method in rows:
            continue
        config = resolve(load_preset(task), [*overrides, "model.infonce=0", *METHODS[method]])
        run_dir = args.runs / f"{task}-{method}-seed{seed}"
        began = time.perf_counter()
        fit(config, episodes, run_dir, args.updates, Console(quiet=True))
        seconds = time.perf_counter() - began
        agent = load(run_dir, compiled=True)
        h = embeddings(agent, episodes)
        keep(method, {
            **measures(h, probe_of(agent, h, states, seed)), "fit_seconds": seconds,
            **play(agent, config, plain, pairs),
            "map": goal_map(agent, h, states) if task in MAPPED else None,
        })  # fmt: skip
    made = [method for method in METHODS if method in rows]
    best = max(made, key=lambda method: rows[method]["success"])
    if rows.get(DECODED, {}).get("model") != best:
        agent = load(args.runs / f"{task}-{best}-seed{seed}", compiled=True)
        probe = probe_of(agent, embeddings(agent, episodes), states, seed)
        keep(DECODED, {**play(agent, base, plain, pairs, probe), "model": best})
    if LAST not in rows:
        keep(LAST, play(agent, base, plain, pairs, actor="random"))


def seen(episodes: list[Episode]) -> NDArray[Any]:
    """All observations (rows, D) of episodes."""
    return np.concatenate([e.observation for e in episodes])


@torch.no_grad()
def embeddings(agent: Agent, episodes: list[Episode]) -> Tensor:
    """Of all observations (rows, H)."""
    x = torch.from_numpy(seen(episodes))
    return torch.cat([agent.model.encode(x[i : i + 500]) for i in range(0, len(x), 500)])


def probe_of(agent: Agent, h: Tensor, states: Tensor, seed: int) -> Probe:
    """A probe of features for the simulator's state."""
    return fit_probe(agent.model.features(h, agent.model.initial_state(h)), states, seed)


def measures(h: Tensor, probe: Probe) -> dict[str, float]:
    """Rank and spread of embeddings (rows, H), and how well a probe reads them."""
    some = h[:: max(1, len(h) // 2000)]
    spread = float(some.std(0).mean() / some.square().mean().sqrt().clamp(min=1e-12))
    return {"rank": effective_rank(some), "spread": spread, "r2": probe.r2}


def play(
    agent: Agent,
    config: RunConfig,
    plain: EnvConfig,
    seeds: list[int],
    probe: Probe | None = None,
    actor: Any = "planner",
) -> dict[str, Any]:
    """Success over held-out pairs, and where the bodies went; through a probe by its distance."""
    env = Watched([make_env(config.env) for _ in seeds])
    as_numbers = make_vector(plain, len(seeds))
    as_numbers.reset(seeds)
    goals = as_numbers.goals()
    as_numbers.close()
    assert goals is not None
    agent.aim(None)
    if probe is not None:
        goal = torch.from_numpy(goals)[:, None]

        def cost(x: Tensor) -> Tensor:
            """Squared distance (T, R) to each plan's goal (B, 1, D)."""
            away = x.view(len(x), len(seeds), -1, x.shape[-1]) - goal
            return away.square().sum(-1).flatten(1)

        agent.minimise(cost, probe)
    with warnings.catch_warnings(action="ignore"):  # that it is cut
        evaluate(agent, env, seeds, actor, longest=1)  # compiles what is timed below
    played: Evaluation = evaluate(agent, env, seeds, actor)
    reached = played.returns > 0
    env.close()
    return {
        "success": float(reached.mean()),
        "ci95": list(bootstrap_ci(reached)),
        "decisions": float(played.lengths[reached].mean()) if reached.any() else None,
        "ms": 1e3 * played.seconds / int(played.lengths.max()),
        "paths": np.stack(env.places, 1)[:12].round(3).tolist(),
        "lengths": played.lengths[:12].tolist(),
        "goals": goals[:12, :2].astype(np.float64).round(3).tolist(),
    }


@torch.no_grad()
def goal_map(agent: Agent, h: Tensor, states: Tensor, points: int = 38) -> list[list[float | None]]:
    """Distance in steps (y, x) over the two rooms to a place behind the wall, largest 1.

    It is the mean over the embeddings (rows, H) that belong to states (rows, 2) in a cell.
    """
    goal = h[(states - torch.tensor(MAP_GOAL)).norm(dim=-1).argmin()]
    away = ((h - goal) @ agent.controller.ruler).norm(dim=-1)
    sides = [torch.linspace(-0.95, 0.95, points + 1)] * 2
    total, _ = torch.histogramdd(states.flip(1), sides, weight=away)
    count, _ = torch.histogramdd(states.flip(1), sides)
    shown: list[list[float]] = (total / count / (total / count).nan_to_num().max()).tolist()
    return [[None if math.isnan(d) else round(d, 3) for d in row] for row in shown]


if __name__ == "__main__":
    main()
