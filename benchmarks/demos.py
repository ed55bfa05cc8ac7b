"""Makes the small agents that come with worldplan, of runs.

    python benchmarks/demos.py RUN [RUN ...]

Each goes to demos/TASK: what acts alone, its weights in half precision, which is a megabyte. It is
then evaluated from there, in full precision again, and must do what the run's own agent does.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch

from worldplan.agent.training import checkpoint
from worldplan.agent.training.restore import load
from worldplan.agent.training.trained import identity, save_config

EPISODES, LOST = 10, 0.05  # share of the return that rounding may cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, default=Path("demos"))
    args = parser.parse_args()
    for run in args.runs:
        agent = load(run)
        whole = agent.evaluate(episodes=EPISODES).returns.mean()
        folder = args.out / agent.run.task
        shutil.rmtree(folder, ignore_errors=True)
        config = agent.run.model_copy(update={"run_dir": None, "start_from": None, "data": None})
        save_config(config, folder)
        halves = {  # large matrices alone: scales and shifts keep their digits
            name: value.half() if value.ndim > 1 and value.dtype == torch.float32 else value
            for name, value in agent.weights().items()
        }
        checkpoint.save(folder, 0, halves, identity(config, agent.spec), keep=1)
        small = load(folder).evaluate(episodes=EPISODES).returns
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{folder}: {whole:.1f} before, {small.mean():.1f} ({small.min():.1f} at least) in "
              f"half precision, {size / 1e6:.1f} MB")  # fmt: skip
        if small.mean() < whole - LOST * abs(whole):
            sys.exit(f"{folder} lost more than {LOST:.0%} of its return")


if __name__ == "__main__":
    main()
