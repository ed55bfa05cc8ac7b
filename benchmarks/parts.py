"""Where the time of a training step goes: environment, replay, decision, update.

    python benchmarks/parts.py [--env ID] [--threads N] [--out FILE.json] [KEY=VALUE ...]

Without --env on two tasks: cheetah-run (17 observations, 6 actions) and Humanoid-v5 (348 and 17).
The decision's 50th and 99th percentile are those of `act`, the updates' of `Learner.update`.
"""

from __future__ import annotations

import argparse
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
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.atomic import write_json
from worldplan.agent.data.replay import Replay
from worldplan.agent.learning.compiling import resolve
from worldplan.envs import make_vector

FILLED, STEPS = 1000, 300  # random steps before, measured steps


class Stopwatch:
    """Seconds by part."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self.last = time.perf_counter()

    def start(self) -> None:
        self.last = time.perf_counter()

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.spent.setdefault(part, []).append(now - self.last)
        self.last = now


def measure(config: RunConfig, folder: Path) -> dict[str, dict[str, float]]:
    """Milliseconds of each part, per step of the training loop: median, 99th percentile, mean."""
    execution, _ = resolve(config.compile, config.update_precision, config.plan_precision)
    env = make_vector(config.env, 1)
    torch.manual_seed(0)
    agent = Agent(config.agent, env.spec, execution)
    learner = agent.make_learner()
    planner, random = agent.actor(explore=True), agent.actor("random")
    replay = Replay(folder, env.spec, 1, capacity=2 * (FILLED + STEPS) + 2, slack=0)
    rng, generator, watch = np.random.default_rng(0), agent.generator(0), Stopwatch()
    c, past = config.agent.learner, agent.model.context - 1
    done = np.ones(1, np.bool_)
    state = planner.initial(1)
    for step in range(FILLED + STEPS):
        if done[0]:
            observation = env.reset([step])
            replay.begin(0, observation[0])
            state = planner.initial(1)
        if step == FILLED - 20:  # the last of these compile and warm up
            learner.observe(torch.from_numpy(observation))
        planned = step >= FILLED - 20
        if step == FILLED:
            watch.spent.clear()
        watch.start()
        actor = planner if planned else random
        action, state, _ = actor.act(torch.from_numpy(observation), state, generator)
        watch.lap("decision")
        observation, reward, terminated, truncated = env.step(action.numpy())
        watch.lap("environment")
        replay.add(0, action[0].numpy(), reward[0], terminated[0], truncated[0], observation[0])
        learner.observe(torch.from_numpy(observation))
        watch.lap("replay: write")
        done = terminated | truncated
        if planned:
            batch = replay.sample(rng, c.batch_size, past, c.horizon)
            watch.lap("replay: sample")
            learner.update(batch, generator)
            watch.lap("update")
    env.close()
    return {
        part: {
            "median": 1e3 * float(np.median(spent)),
            "p99": 1e3 * float(np.percentile(spent, 99)),
            "mean": 1e3 * float(np.mean(spent)),
        }
        for part, spent in watch.spent.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--env", help="a Gymnasium id, in place of the two tasks")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: as many as it likes")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as of `worldplan train`")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    bases: list[dict[str, Any]] = [
        {"task": i, "env": {"id": i}} for i in ([args.env] if args.env else ["Humanoid-v5"])
    ]
    if not args.env:
        bases.insert(0, load_preset("cheetah-run"))
    console = Console()
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    for base in bases:
        with tempfile.TemporaryDirectory() as folder:
            parts = measure(resolve_config(base, args.overrides), Path(folder))
        total = sum(times["mean"] for times in parts.values())
        table = Table(f"{base['task']}, ms a step", "median", "p99", "mean", "share")
        for part, times in parts.items():
            numbers = [f"{times[k]:.2f}" for k in ("median", "p99", "mean")]
            table.add_row(part, *numbers, f"{times['mean'] / total:.0%}")
        table.add_row("all", "", "", f"{total:.2f}", "")
        console.print(table)
        figures[base["task"]] = parts
    if args.out:
        write_json(args.out, figures)


if __name__ == "__main__":
    main()
