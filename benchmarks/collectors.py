"""From how slow an environment on do collectors pay? Steps a second of training, with and without.

    python benchmarks/collectors.py [--out FILE.json] [--collectors 8] [--seconds 60]

Needs the extra ray. The environment waits (for a device, say) for some milliseconds a step. Model,
search and updates are those of the default settings; what is timed begins after the random start.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from rich.console import Console
from rich.table import Table

from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import of_environment
from worldplan.agent.data.atomic import write_json
from worldplan.agent.training.events import Listener, StepEvent, UpdateEvent
from worldplan.agent.training.trainer import Trainer

_RANDOM = 200  # decisions before anything is timed
_SETTLES = 5.0  # s after them that are not timed: updates that were owed


class Slow(gym.Env[Any, Any]):
    """A step waits for `ms` milliseconds; an episode lasts 200 steps."""

    def __init__(self, ms: float) -> None:
        self.observation_space = spaces.Box(-1, 1, (17,))
        self.action_space = spaces.Box(-1, 1, (6,))
        self.seconds = ms / 1e3

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        time.sleep(self.seconds)
        self.t += 1
        return self.observation_space.sample(), 0.0, False, self.t == 200, {}


class Watch(Listener):
    """Counts the steps of a time, and then ends the run."""

    returns_soon = True

    def __init__(self, seconds: float) -> None:
        self.seconds, self.began = seconds, 0.0
        self.first = self.made = 0
        self.spent = 0.0
        self.behind: list[float] = []

    def on_step(self, event: StepEvent) -> None:
        now = time.perf_counter()
        if event.step <= _RANDOM + 1:
            self.began = now + _SETTLES
        if now < self.began or not self.first:
            self.first = event.step
            return
        self.made, self.spent = event.step - self.first, now - self.began
        if self.spent >= self.seconds:
            self.run.stop = "timed"

    def on_update(self, event: UpdateEvent) -> None:
        self.behind += event.groups["collectors"].values()


def measure(ms: float, collectors: int, seconds: float) -> dict[str, float]:
    """Steps a second, and how many updates behind the weights were that decided."""
    words = [
        *(f"collectors={collectors}", "updates_per_step=1", f"seed_steps={_RANDOM}"),
        *("steps=1000000", "eval_interval=1000000", "checkpoint_interval=1000000"),
        *("log_interval=100", "eval_episodes=1", "final_episodes=1", "eval_max_steps=1"),
        *("compile=on", "threads=1", f"env.kwargs.ms={ms}", "replay.capacity=100000"),
    ]
    watch = Watch(seconds)
    with tempfile.TemporaryDirectory() as place:
        config = resolve(of_environment("SlowSteps-v0"), words)
        Trainer(config, Path(place) / "run", Console(quiet=True), listeners=[watch]).run()
    behind = float(np.mean(watch.behind)) if watch.behind else 0.0
    return {"steps_per_second": watch.made / watch.spent, "updates_behind": behind}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--collectors", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60, help="of each figure")
    args = parser.parse_args()
    os.environ.setdefault("RAY_worker_niceness", "0")
    gym.register("SlowSteps-v0", lambda **how: Slow(**how))
    table = Table("a step waits", "one process", "collectors", "times faster", "updates behind")
    rows = []
    for ms in (5.0, 20.0, 100.0):
        alone, crew = (measure(ms, count, args.seconds) for count in (0, args.collectors))
        here, there = (found["steps_per_second"] for found in (alone, crew))
        behind = crew["updates_behind"]
        rows.append({"ms": ms, "here": here, "collectors": there, "updates_behind": behind})
        speeds = f"{here:.1f} steps/s", f"{there:.1f} steps/s"
        table.add_row(f"{ms:g} ms", *speeds, f"{there / here:.1f}", f"{behind:.0f}")
        if args.out:
            cores = os.cpu_count()
            write_json(args.out, {"collectors": args.collectors, "cores": cores, "rows": rows})
    Console().print(table)


if __name__ == "__main__":
    main()
