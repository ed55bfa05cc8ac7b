"""From how slow a simulator on do processes pay? Steps of several environments, in and out.

    python benchmarks/workers.py [--out FILE.json] [--steps N]

The environment computes or waits (for a device, say) for some milliseconds a step. Printed are
milliseconds for one step of all environments, in this process and with a worker for each.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from rich.console import Console
from rich.table import Table

from worldplan.agent.data.atomic import write_json
from worldplan.envs import EnvConfig, make_vector


class Slow(gym.Env[Any, Any]):
    """A step takes `ms` milliseconds: of the processor if `busy`, else of waiting."""

    def __init__(self, ms: float, busy: bool) -> None:
        self.observation_space = spaces.Box(-1, 1, (8,))
        self.action_space = spaces.Box(-1, 1, (2,))
        self.seconds, self.busy = ms / 1e3, busy

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(8, np.float32), {}

    def step(self, action: Any) -> Any:
        if self.busy:  # processor time, so that it is the same work on a busy machine
            until = time.thread_time() + self.seconds
            while time.thread_time() < until:
                pass
        else:
            time.sleep(self.seconds)
        return np.zeros(8, np.float32), 0.0, False, False, {}


def measure(ms: float, busy: bool, envs: int, workers: int, steps: int) -> float:
    """Median milliseconds of one step of all environments."""
    config = EnvConfig(id="Slow-v0", kwargs={"ms": ms, "busy": busy}, workers=workers)
    env = make_vector(config, envs)
    env.reset(list(range(envs)))
    times, actions = [], np.zeros((envs, 2), np.float32)
    for _ in range(steps):
        began = time.perf_counter()
        env.step(actions)
        times.append(time.perf_counter() - began)
    env.close()
    return 1e3 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args()
    gym.register("Slow-v0", lambda **how: Slow(**how))
    table = Table("a step of one", "environments", "in this process", "in workers", "times faster")
    figures: dict[str, dict[str, float]] = {}
    for ms, busy in ((0.0, False), (5.0, False), (20.0, False), (5.0, True), (20.0, True)):
        for envs in (4, 8):
            here, there = (measure(ms, busy, envs, n, args.steps) for n in (0, envs))
            name = f"{ms:g} ms {'computing' if busy else 'waiting'}"
            figures[f"{name}, {envs}"] = {"here": here, "workers": there}
            ratio = f"{here / there:.2g}"
            table.add_row(name, str(envs), f"{here:.1f} ms", f"{there:.1f} ms", ratio)
    Console().print(table)
    if args.out:
        write_json(args.out, {"ms": figures})


if __name__ == "__main__":
    main()
