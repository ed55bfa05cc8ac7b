"""Digests of short training runs: did a change that should change nothing change nothing?

    python benchmarks/digests.py --out before.json             # on the code as it was
    python benchmarks/digests.py --against before.json         # on the code as it is

Each case trains for some seconds, uncompiled, in float32, on one thread, and is then digested:
weights, generators, the rows of the replay, the learning curve and ten planned actions. Names of
tensors do not count: a module may be renamed. Digests hold on one machine with one version of
PyTorch: other kernels round otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from worldplan import load

SMALL = (
    *("threads=1", "compile=off", "update_precision=float32", "seed=3", "steps=100"),
    *("seed_steps=60", "eval_interval=50", "eval_episodes=2", "final_episodes=2"),
)
SHORT = "env.kwargs.max_episode_steps=40"
PENDULUM, DM = ("inverted-pendulum", "solved=null"), "env.kwargs.task_kwargs.time_limit=0.8"
CASES: dict[str, tuple[str, ...]] = {
    "inverted-pendulum": PENDULUM,
    "hopper": ("hopper", SHORT),
    "cheetah-run": ("cheetah-run", DM),
    "gusts": ("gusts", "num_envs=1", "updates_per_step=0.5"),
    "ensemble": (*PENDULUM, "model.kind=ensemble", "planner.latent_samples=5"),
    "autoregressive": (
        *PENDULUM, "model.kind=autoregressive", "agent.proposals=0", "updates_per_step=0.2",
        "planner.samples=16", "planner.elites=4",
    ),
    "autoregressive with a": (
        *PENDULUM, "model.kind=autoregressive", "model.action=true", "updates_per_step=0.2",
        "planner.samples=16", "planner.elites=4",
    ),
    "context=3": ("cheetah-run", DM, "model.context=3", "model.latent.kind=gaussian"),
    "num_envs=4": ("hopper", SHORT, "num_envs=4", "planner.kind=icem"),
}  # fmt: skip
SIMULATOR = (
    *PENDULUM, "model.kind=simulator", "planner.horizon=8", "planner.samples=16", "seed=3",
    "env.kwargs.max_episode_steps=10", "threads=1", "final_episodes=1", "compile=off",
)  # fmt: skip


def command(*words: str | Path) -> None:
    """Runs a `worldplan` command of this environment; its output is shown if it fails."""
    program = Path(sys.executable).with_name("worldplan")
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"worldplan {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(p).digest() for p in parts)).hexdigest()[:16]


def of_tensors(run: Path) -> dict[str, str]:
    """Of a run's last checkpoint, in no order of names."""
    name = (run / "checkpoints" / "latest").read_text().strip()
    found: dict[str, list[bytes]] = {"weights": [], "generators": []}
    for tensor in load_file(run / "checkpoints" / name / "tensors.safetensors").values():
        kind = "generators" if tensor.dtype == torch.uint8 else "weights"
        found[kind].append(tensor.numpy().tobytes())
    return {kind: digest(*sorted(parts)) for kind, parts in found.items()}


def of_rows(run: Path) -> str:
    rows = np.load(run / "replay" / "rows.npy")
    names = ("observation", "action", "reward", "terminated", "transition")
    return digest(*(np.ascontiguousarray(rows[name]).tobytes() for name in names))


def of_actions(run: Path, aim: bool = False) -> str:
    """Of ten plans, one after the other, for what the run saw first."""
    seen = np.load(run / "replay" / "rows.npy")["observation"]
    agent = load(run)
    if aim:
        agent.aim(seen[20])
    return digest(*(agent.act(x, scaled=False).tobytes() for x in seen[:10]))


def trained(settings: tuple[str, ...], run: Path) -> dict[str, str]:
    """Of a training run."""
    task, *others = settings
    command("train", task, *SMALL, *others, f"run_dir={run}")
    curve = digest((run / "curve.csv").read_bytes())
    return {**of_tensors(run), "rows": of_rows(run), "curve": curve, "actions": of_actions(run)}


def fitted(folder: Path) -> dict[str, str]:
    """Of a model trained from triples alone."""
    data, run = folder / "rooms.npz", folder / "fit"
    command("collect", "two-rooms", "--steps", "600", "--out", data)
    command(
        "fit", "two-rooms", data, "--updates", "40", "threads=1", "compile=off",
        "update_precision=float32", f"run_dir={run}",
    )  # fmt: skip
    curve = (run / "fit.csv").read_bytes()
    return {
        "weights": of_tensors(run)["weights"], "rows": of_rows(run), "curve": digest(curve),
        "actions": of_actions(run, aim=True),
    }  # fmt: skip


def simulated(folder: Path) -> dict[str, str]:
    """Of an episode planned in the simulator, which learns nothing."""
    data = folder / "simulated.npz"
    command("rollout", *SIMULATOR, "--dataset", data)
    arrays = np.load(data)
    names = {"actions": "action", "rewards": "reward"}
    return {what: digest(arrays[name].tobytes()) for what, name in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file to write the digests to")
    parser.add_argument("--against", type=Path, help="JSON file to compare with")
    parser.add_argument("--only", help="cases, separated by commas")
    arguments = parser.parse_args()
    before = json.loads(arguments.against.read_text()) if arguments.against else {}
    torch.set_num_threads(1)
    found, changed = {}, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = {
            **{
                case: partial(trained, settings, folder / f"run{i}")
                for i, (case, settings) in enumerate(CASES.items())
            },
            "two-rooms by fit": partial(fitted, folder),
            "simulator": partial(simulated, folder),
        }
        for case, run in cases.items():
            if arguments.only and case not in arguments.only.split(","):
                continue
            found[case] = run()
            for what, value in found[case].items():
                was = before.get(case, {}).get(what)
                verdict = "" if was is None else "the same" if was == value else f"was {was}"
                print(f"{case:22} {what:11} {value}  {verdict}", flush=True)
                if was not in (None, value):
                    changed.append(f"{case}: {what}")
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    if changed:
        raise SystemExit(f"changed: {', '.join(changed)}")


if __name__ == "__main__":
    main()
