"""Would several environments, or a process that collects while another learns, be faster?

    python benchmarks/parallel.py [--out FILE.json] [KEY=VALUE ...]

On cheetah-run, default settings, milliseconds for each decision that is collected and learnt from:

    one process           decide, step the environment, update: as `worldplan train` does
    num_envs=N            the same with N environments planned as one batch; one update a decision
    two processes         one only decides and steps, the other only updates, one thread each. No
                          weights or transitions are handed over: the most that could be won
    two runs              each as the first, one thread each, side by side: per decision of either
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from worldplan.agent import Agent
from worldplan.agent.config.overrides import resolve as resolve_config
from worldplan.agent.config.presets import load_preset
from worldplan.agent.data.atomic import write_json
from worldplan.agent.data.replay import Replay
from worldplan.agent.learning.compiling import resolve
from worldplan.envs import make_vector

WARM, STEPS = 20, 300
Start = Any  # a multiprocessing barrier: its class is named nowhere


def worker(
    overrides: list[str], envs: int, threads: int, parts: str, start: Start, out: Any
) -> None:
    """Puts on `out` the seconds a decision takes, doing the `parts` ("collect learn")."""
    if threads:
        torch.set_num_threads(threads)
    config = resolve_config(load_preset("cheetah-run"), overrides)
    execution, _ = resolve(config.compile, config.update_precision, config.plan_precision)
    env = make_vector(config.env, envs)
    agent = Agent(config.agent, env.spec, execution)
    learner, actor = agent.make_learner(), agent.actor(explore=True)
    rng, generator = np.random.default_rng(0), agent.generator(0)
    c = config.agent.learner
    with tempfile.TemporaryDirectory() as folder:
        replay = Replay(Path(folder), env.spec, envs, capacity=10_000 * envs, slack=0)
        observation, state = env.reset(list(range(envs))), actor.initial(envs)
        for i in range(envs):
            replay.begin(i, observation[i])
        began = 0.0
        for step in range(WARM + STEPS // envs):
            if step == WARM:
                start.wait()
                began = time.perf_counter()
            if "collect" in parts or step < WARM:
                seen = torch.from_numpy(observation)
                action, state, _ = actor.act(seen, state, generator)
                observation, reward, terminated, truncated = env.step(action.numpy())
                for i in range(envs):
                    replay.add(
                        i, action[i].numpy(), reward[i], terminated[i], False, observation[i]
                    )
                if truncated.any():
                    observation = env.reset(list(range(envs)))
                    for i in range(envs):
                        replay.begin(i, observation[i])
            if "learn" in parts or step < WARM:
                for _ in range(envs):
                    learner.update(replay.sample(rng, c.batch_size, 0, c.horizon), generator)
        out.put((time.perf_counter() - began) / (STEPS // envs * envs))
    env.close()


def measure(overrides: list[str], processes: list[tuple[int, int, str]]) -> float:
    """Milliseconds a decision of processes (environments, threads, parts) that run side by side."""
    context = multiprocessing.get_context("spawn")
    start, out = context.Barrier(len(processes)), context.Queue()
    jobs = [
        context.Process(target=worker, args=(overrides, envs, threads, parts, start, out))
        for envs, threads, parts in processes
    ]
    for job in jobs:
        job.start()
    slowest: float = max(out.get() for _ in jobs)
    for job in jobs:
        job.join()
    return 1e3 * slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as of `worldplan train`")
    args = parser.parse_args()
    both = "collect learn"
    ways = {
        "one process": ([(1, 0, both)], 1),
        "num_envs=4": ([(4, 0, both)], 1),
        "num_envs=16": ([(16, 0, both)], 1),
        "two processes": ([(1, 1, "collect"), (1, 1, "learn")], 1),
        "two runs": ([(1, 1, both), (1, 1, both)], 2),
    }
    table = Table("", "ms a decision")
    figures: dict[str, float] = {}
    for name, (processes, runs) in ways.items():
        figures[name] = measure(args.overrides, processes) / runs
        table.add_row(name, f"{figures[name]:.1f}")
    Console().print(table)
    if args.out:
        write_json(args.out, {"ms": figures})


if __name__ == "__main__":
    main()
