"""How evenly an agent decides at a fixed rate: milliseconds from the beat of a clock to the action.

    python benchmarks/robot.py --minutes 10 --out benchmarks/results/speed/robot.json

Each row is a way of deciding, on one thread, in an environment that stands in for a robot. Times
are of a machine that does nothing else.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch

import worldplan
from worldplan.agent.deployment.decision import Decision
from worldplan.agent.deployment.export import export
from worldplan.agent.deployment.fixed_rate import control


class Robot:
    """An environment that takes one action a beat, and begins again where an episode ends."""

    def __init__(self, agent: Any) -> None:
        env = agent.run.env
        self.agent, self.repeat = agent, env.action_repeat
        self.env = gym.make(env.id)
        self.newest, _ = self.env.reset(seed=0)

    def read(self) -> Any:
        return self.newest

    def write(self, action: Any) -> None:
        for _ in range(self.repeat):
            self.newest, _, terminated, truncated, _ = self.env.step(action)
            if terminated or truncated:
                self.newest, _ = self.env.reset()
                self.agent.reset()
                return


class Alone:
    """A file of `export`, asked as an agent is."""

    def __init__(self, agent: Any, run: Any) -> None:
        self.spec, self.controller, self._run = agent.spec, agent.controller, run
        self._size = Decision(agent.actor(), agent.spec.action).size
        self.reset()

    def reset(self) -> None:
        self._state = torch.zeros(1, self._size)

    def act(self, observation: Any, *, scaled: bool) -> Any:
        x = torch.as_tensor(self.spec.observation.check(observation))
        action, self._state = self._run(x[None], self._state)
        return action[0].numpy()


def planner(run: str) -> Any:
    return worldplan.load(run)


def compiled(run: str) -> Any:
    return worldplan.load(run, compiled=True)


def exported(run: str) -> Any:
    agent = worldplan.load(run)
    with tempfile.TemporaryDirectory() as folder:
        file = export(agent, Path(folder) / "agent.pt2")
        return Alone(agent, torch._inductor.aoti_load_package(str(file)))


WAYS: dict[str, Callable[[str], Any]] = {
    "planner": planner,
    "planner, compiled": compiled,
    "exported file": exported,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="demo:hopper")
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each row")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for way in args.ways:
        agent = WAYS[way](args.run)
        robot = Robot(worldplan.load(args.run))
        robot.agent = agent
        timing = control(agent, robot.read, robot.write, rate=args.rate, seconds=60 * args.minutes)
        found[way] = timing.summary()
        print(f"{way}: {timing}", flush=True)
        if args.out is not None:
            about = {"run": args.run, "minutes": args.minutes, "ways": found}
            args.out.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
