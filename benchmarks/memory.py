"""Resident memory of training once a million transitions of cheetah-run are in the replay.

    python benchmarks/memory.py [--transitions N] [--out FILE.json]

Fills a replay with random transitions of the right sizes, in episodes of 500, then decides and
updates from it as training does. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from speed import SIZES

from worldplan.agent import Agent
from worldplan.agent.config.overrides import resolve as resolve_config
from worldplan.agent.config.presets import load_preset
from worldplan.agent.data.atomic import write_json
from worldplan.agent.data.replay import Replay
from worldplan.agent.learning.compiling import resolve
from worldplan.envs import EnvironmentSpec

EPISODE = 500


def resident() -> dict[str, float]:
    """MiB: now, of that in files (the replay, libraries), and at the most so far."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    names = {"resident": "VmRSS", "of_files": "RssFile", "peak": "VmHWM"}
    return {name: int(lines[key].split()[0]) / 1024 for name, key in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    args = parser.parse_args()
    config = resolve_config(load_preset("cheetah-run"))
    console = Console()
    execution, note = resolve(config.compile, config.update_precision, config.plan_precision)
    console.print(note)
    observation, action = SIZES
    spec = EnvironmentSpec.vectors(*SIZES)
    rng = np.random.default_rng(0)
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        capacity = args.transitions + args.transitions // EPISODE + 2
        replay = Replay(Path(folder), spec, 1, capacity=capacity, slack=0)
        figures["empty"] = resident()
        for step in range(args.transitions):
            if step % EPISODE == 0:
                replay.begin(0, rng.standard_normal(observation, np.float32))
            last = step % EPISODE == EPISODE - 1
            replay.add(
                0, rng.uniform(-1, 1, action).astype(np.float32), 1.0, False, last,
                rng.standard_normal(observation, np.float32),
            )  # fmt: skip
        figures["filled"] = resident()
        agent = Agent(config.agent, spec, execution)
        learner, actor, generator = agent.make_learner(), agent.actor(), agent.generator(0)
        state = actor.initial(1)
        c = config.agent.learner
        for _ in range(args.updates):
            learner.update(replay.sample(rng, c.batch_size, 0, c.horizon), generator)
        for _ in range(100):
            _, state, _ = actor.act(torch.randn(1, observation), state, generator)
        figures["training"] = resident()
    for name, values in figures.items():
        console.print(name, {k: f"{v:,.0f} MiB" for k, v in values.items()})
    if args.out:
        write_json(args.out, {"transitions": args.transitions, "mib": figures})


if __name__ == "__main__":
    main()
