"""What z is for: a gorge with gusts, crossed by models without and with z, under risk measures.

    python benchmarks/risk.py [--jobs 2] [--seeds 0 1 2] [--steps 30000] [--gust 0.2]
        [--out benchmarks/results/risk] [--runs runs/risk] [--figure docs/risk.png]

First the optimum: the expected return of each way, in closed form and played by rule. Then one
model is trained for each kind of z and seed, and evaluated under each risk measure on the same
held-out episodes from the place where the ways part; so is the simulator, which needs no training.
Risk is a setting of the planner, not of the model: training once gives every measure the same model
and the same data, and takes a third of the time. What is there already is not made again: a run
goes on from its checkpoint, and each result is a JSON file of its own.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from risk_bands import bands, windows
from risk_report import LEARNED, RISKS, SIMULATOR, chosen, draw, optimum, table
from watched import Watched

from worldplan.agent import Agent
from worldplan.agent.acting.imagination import side_by_side
from worldplan.agent.acting.objective import LearnedReturn
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset
from worldplan.agent.config.run import RunConfig
from worldplan.agent.config.saved import plain
from worldplan.agent.data.atomic import write_json
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.evaluate import evaluate
from worldplan.agent.experiments.compare.trial import trained
from worldplan.agent.training.restore import make_agent
from worldplan.envs import EnvConfig, make_env
from worldplan.envs.tasks.gorge import route_of

# How plans are searched for. To collect: quickly, and wide, so that both ways are tried. In an
# evaluation: with enough futures for the gust to be in some of them.
COLLECTING = ("planner.samples=64", "planner.initial_std=2", "planner.iterations=1")
EVALUATING = ("planner.samples=128", "planner.initial_std=1", "planner.iterations=3")
COLLECTING_FUTURES, EVALUATING_FUTURES = 4, 16
# The simulator has no value of what comes after: the safe way takes ten decisions to the finish.
SIMULATING = (
    *("model.kind=simulator", "model.threads=1", "planner.horizon=12", "planner.latent_samples=8"),
    *("planner.samples=512", "planner.initial_std=1", "planner.iterations=3", "planner.keep=0.3"),
    "planner.elites=8",
)
FUTURES = 1000  # imagined of going straight on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, a thread each")
    parser.add_argument("--kinds", nargs="+", choices=LEARNED, default=LEARNED)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=30_000, help="decisions to train for")
    parser.add_argument("--gust", type=float, default=0.2, help="probability of a gust")
    parser.add_argument("--episodes", type=int, default=30, help="held-out, for each result")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/risk"))
    parser.add_argument("--runs", type=Path, default=Path("runs/risk"))
    parser.add_argument("--figure", type=Path, default=Path("docs/risk.png"))
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as of `worldplan train`")
    args = parser.parse_args()
    console = Console()
    console.print(optimum())
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = [(args, kind, seed) for seed in args.seeds for kind in args.kinds]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        bounds = [pool.submit(bound, args, risk) for risk in RISKS]
        for line in pool.map(cells, *zip(*jobs, strict=True)):
            console.print(line)
        for future in bounds:
            console.print(future.result())
    results = [json.loads(f.read_text()) for f in sorted(args.out.glob("*.json"))]
    results = chosen(results, gust=args.gust)
    console.print(table(results))
    draw(results, args.figure)
    console.print(f"drawn to {args.figure}")


def cells(args: argparse.Namespace, kind: str, seed: int) -> str:
    """Trains one model, looks into it, and evaluates it under each risk, if that is not done."""
    files = {risk: args.out / f"{kind}-{risk}-seed{seed}-gust{args.gust:g}.json" for risk in RISKS}
    picture = args.out / f"{kind}-seed{seed}-gust{args.gust:g}.json"
    if all(file.exists() for file in (picture, *files.values())):
        return f"{kind}, seed {seed}: there already"
    run = args.runs / f"{kind}-seed{seed}-gust{args.gust:g}"
    config = settings(args, kind, seed)
    torch.set_num_threads(1)
    agent = trained(config, run, Console(quiet=True))
    anywhere, at_gust = windows(args.gust)
    which = {"kind": kind, "seed": seed, "gust": args.gust, "steps": config.steps}
    write_json(picture, {
        **which, "futures": straight_on(agent),
        "anywhere": bands(agent, anywhere), "at_gust": bands(agent, at_gust),
    }, indent=None)  # fmt: skip
    for risk, file in files.items():
        judged = [f"planner.risk={risk}", futures(kind, EVALUATING_FUTURES), *EVALUATING]
        planner = resolve(plain(config), judged).agent
        careful = Agent(planner, agent.spec)
        careful.load_weights(agent.weights())
        found = crossed(careful, config.env, args.episodes)
        write_json(file, {**which, "risk": risk, **found}, indent=None)
    return f"{kind}, seed {seed}: done"


def bound(args: argparse.Namespace, risk: str) -> str:
    """Evaluates the simulator under a risk, if that is not done."""
    file = args.out / f"{SIMULATOR}-{risk}-gust{args.gust:g}.json"
    if not file.exists():
        asked = [f"env.kwargs.gust={args.gust}", f"planner.risk={risk}", *SIMULATING]
        config = resolve(load_preset("gusts"), asked)
        torch.set_num_threads(1)
        agent = make_agent(config)
        write_json(file, {
            "kind": SIMULATOR, "risk": risk, "gust": args.gust,
            **crossed(agent, config.env, args.episodes),
        }, indent=None)  # fmt: skip
    return f"{SIMULATOR}, {risk}: done"


def settings(args: argparse.Namespace, kind: str, seed: int) -> RunConfig:
    return resolve(
        load_preset("gusts"),
        [
            *(f"seed={seed}", f"steps={args.steps}", "threads=1", f"env.kwargs.gust={args.gust}"),
            *(f"model.latent.kind={kind}", "planner.risk=mean", f"eval_interval={args.steps // 4}"),
            *(futures(kind, COLLECTING_FUTURES), *COLLECTING, *args.overrides),
        ],
    )


def futures(kind: str, number: int) -> str:
    """Without z all futures are the same."""
    return f"planner.latent_samples={1 if kind == 'none' else number}"


def crossed(agent: Agent, env: EnvConfig, episodes: int) -> dict[str, Any]:
    """Held-out episodes from the place where the ways part."""
    env = env.model_copy(update={"kwargs": {**env.kwargs, "start": 0.0}})
    world = Watched([make_env(env) for _ in range(episodes)])
    result = evaluate(agent, world, held_out_seeds(episodes))
    world.close()
    seen = np.stack(world.seen, 1)  # (episodes, T + 1, 4)
    if env.observe == "state":
        seen = seen[..., 1:5]  # behind the time
    ways = [route_of(x[: n + 1]) for x, n in zip(seen, result.lengths, strict=True)]
    counted = Counter(ways)
    return {
        "returns": result.returns.tolist(),
        "mean": float(result.returns.mean()),
        "failed": float((result.rewards.max(0) <= 0).mean()),  # the finish alone pays
        "bridge": counted["bridge"] / episodes,
        "safe": counted["safe"] / episodes,
    }


@torch.no_grad()
def straight_on(agent: Agent) -> list[float]:
    """Imagined returns (FUTURES,) of five decisions straight on, onto the bridge."""
    h = agent.model.encode(torch.tensor([[0.0, 0.0, 1.25, 0.0]]))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(FUTURES, 5, agent.model.noise_dim, generator=generator)
    given = side_by_side(h, agent.model.initial_state(h), torch.zeros(1, 1, 5, 1), noise)
    value = LearnedReturn(agent.heads, agent.config.discount)(agent.model.imagine(*given))
    return [round(v, 4) for v in value.tolist()]


if __name__ == "__main__":
    main()
