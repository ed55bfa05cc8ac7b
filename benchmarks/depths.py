"""What averaging values over depths changes: the same weights, evaluated with each `value_depths`.

    python benchmarks/depths.py runs/X runs/Y --episodes 10 --out benchmarks/results/depths.json

Training does not depend on it, so that no other run is needed. Held-out episodes, nothing explored.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from worldplan.agent.acting.objective import LearnedReturn
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.evaluate import evaluate
from worldplan.agent.training.restore import load_with_config
from worldplan.envs import make_vector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders, or demo:TASK")
    parser.add_argument("--depths", nargs="+", type=int, default=[0, 3])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for run in args.runs:
        agent, config = load_with_config(run, plays=True)
        default = agent.controller.default
        assert isinstance(default, LearnedReturn), "what learned a reward"
        world, seeds = make_vector(config.env, args.episodes), held_out_seeds(args.episodes)
        for depths in args.depths:
            agent.controller.default = replace(default, depths=depths)
            returns = evaluate(agent, world, seeds).returns
            mean, least = float(returns.mean()), float(returns.min())
            about = {"task": config.task, "seed": config.seed, "steps": config.steps}
            about |= {"episodes": args.episodes, "value_depths": depths}
            rows.append(about | {"mean": mean, "least": least})
            print(f"{config.task}, {depths} depths: {mean:.1f}, least {least:.1f}", flush=True)
            if args.out is not None:
                args.out.write_text(json.dumps(rows, indent=1) + "\n")
        world.close()


if __name__ == "__main__":
    main()
