"""Families of world models x planners x tasks x seeds, under one budget of environment steps.

Each cell is an ordinary training run, made by a process of its own (`trial` beside this file), so
that a comparison can be cut off anywhere and goes on: finished cells are kept, others resumed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from worldplan.agent.config.names import folder_name, one_of
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset
from worldplan.agent.config.run import RunConfig
from worldplan.agent.experiments.compare.trial import MEASURES
from worldplan.agent.training.restore import config_json, save_config
from worldplan.planners import PLANNERS

# A family of world models is what it sets; the rest of the settings is the same for all.
FAMILIES: dict[str, tuple[str, ...]] = {
    "jepa": (),
    "jepa without a": ("model.action=false",),
    "ensemble": ("model.kind=ensemble",),
    "autoregressive+a": ("model.kind=autoregressive", "model.action=true"),
    "autoregressive": ("model.kind=autoregressive",),
    "simulator": ("model.kind=simulator",),
}

# What --quick compares: fifteen minutes on two cores, where compiling would take half of them, and
# steps enough to solve the tasks. Transformers would take three times as long.
QUICK_STEPS = {"inverted-pendulum": 6000, "reacher": 5000, "cartpole-swingup": 12500}
QUICK_FAMILIES = ("jepa", "jepa without a")
QUICK_SETTINGS = (
    *("compile=off", "learner.batch=64", "planner.samples=32", "planner.elites=8"),
    *("planner.iterations=2", "final_episodes=5"),
    "eval_interval=1000000",  # at the end alone
)
_SMALLER = ("model.width=32", "model.layers=1", "model.heads=2", "learner.batch=32")
QUICK_FAMILY_SETTINGS = {"autoregressive+a": _SMALLER, "autoregressive": _SMALLER}
QUICK_SEEDS, SEEDS = 2, 3


@dataclass(frozen=True)
class Cell:
    """One run of the comparison."""

    task: str
    family: str
    planner: str
    seed: int
    config: RunConfig
    run_dir: Path

    @property
    def done(self) -> bool:
        return (self.run_dir / MEASURES).exists()


def choose(what: str, wanted: str, names: Iterable[str]) -> list[str]:
    """The names in a comma-separated list.

    Raises:
        ValueError: there is no such name; tells the nearest one.
    """
    known = list(names)
    chosen = [one_of(what, word.strip(), known) for word in wanted.split(",")]
    return list(dict.fromkeys(chosen))


def lay_out(
    tasks: Mapping[str, Mapping[str, Any]],
    families: Sequence[str],
    planners: Sequence[str],
    seeds: int,
    steps: Mapping[str, int],
    overrides: Sequence[str],
    out: Path,
    quick: bool = False,
) -> list[Cell]:
    """All cells, those of the first seed first.

    Args:
        tasks: what a run of each starts from, as of `load_preset`.
        steps: decisions of each task's runs; without one, the preset's.
        quick: smaller in all that takes time, see `QUICK_SETTINGS`.
        overrides: `key=value` for all cells; they beat what a family sets.

    Raises:
        ValueError: settings that are not valid, or `out` holds cells with other settings.
    """
    cells = []
    for seed in range(seeds):
        for task, base in tasks.items():
            for family in families:
                for planner in planners:
                    settings = [
                        # All get the same number of steps: nobody stops early.
                        *(f"seed={seed}", "solved=null", "threads=1", f"planner.kind={planner}"),
                        *([f"steps={steps[task]}"] if task in steps else []),
                        *(QUICK_SETTINGS if quick else ()),
                        *(QUICK_FAMILY_SETTINGS.get(family, ()) if quick else ()),
                        *(*FAMILIES[family], *overrides),
                    ]
                    config = resolve(base, settings)
                    name = folder_name(task, family, planner, str(seed))
                    cells.append(Cell(task, family, planner, seed, config, out / "runs" / name))
    for cell in cells:
        _prepare(cell)
    return cells


def _prepare(cell: Cell) -> None:
    """Writes the cell's config.yaml, or makes sure that the one there is the same."""
    path, content = cell.run_dir / "config.yaml", config_json(cell.config)
    if not path.exists():
        save_config(cell.config, cell.run_dir)
        return
    there = OmegaConf.to_container(OmegaConf.load(path))
    if there != content:
        raise ValueError(
            f"{cell.run_dir} was made with other settings; go on with the same ones, or choose "
            "another --out"
        )


def run_all(cells: Sequence[Cell], jobs: int, watch: Callable[[int, list[str]], None]) -> None:
    """Runs what is not done, `jobs` cells at a time, one thread each.

    Args:
        watch: called twice a second with the number of cells done and the names of those running.

    Raises:
        ValueError: cells failed; the others were finished first.
    """
    waiting = [cell for cell in cells if not cell.done]
    running: list[tuple[Cell, subprocess.Popen[bytes]]] = []
    failed: list[Cell] = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop(0)
                running.append((cell, _start(cell)))
            time.sleep(0.5)
            over = [(cell, process) for cell, process in running if process.poll() is not None]
            failed += [cell for cell, _ in over if not cell.done]
            running = [pair for pair in running if pair not in over]
            watch(sum(cell.done for cell in cells), [cell.run_dir.name for cell, _ in running])
    finally:
        signal.signal(signal.SIGTERM, former)
        for _, process in running:  # they save where they are
            process.terminate()
        for _, process in running:
            process.wait()
    if failed:
        by_reason: dict[str, list[Cell]] = {}
        for cell in failed:
            by_reason.setdefault(_last_line(cell), []).append(cell)
        raise ValueError(
            f"{len(failed)} of {len(cells)} cells failed; the same command tries them again. "
            + "; ".join(
                f"{reason} ({len(of)} of them, see {of[0].run_dir / 'log.txt'})"
                for reason, of in by_reason.items()
            )
        )


def _start(cell: Cell) -> subprocess.Popen[bytes]:
    # -P: modules of the folder one works in must not stand in for the standard library's.
    command = [
        sys.executable,
        "-P",
        "-m",
        "worldplan.agent.experiments.compare.trial",
        str(cell.run_dir),
    ]
    with (cell.run_dir / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )


def _last_line(cell: Cell) -> str:
    lines = (cell.run_dir / "log.txt").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def plan_comparison(
    presets: Sequence[str],
    envs: Sequence[str],
    families: str | None,
    planners: str,
    seeds: int | None,
    steps: int | None,
    overrides: Sequence[str],
    out: Path,
    quick: bool,
) -> list[Cell]:
    """From what the command was given to cells; see `worldplan compare --help`.

    Raises:
        ValueError: see `lay_out` and `choose`; or there is no task.
    """
    if not presets and not envs:
        if not quick:
            raise ValueError("expected tasks (see `worldplan tasks`), --env ID, or --quick")
        presets = list(QUICK_STEPS)
    tasks: dict[str, dict[str, Any]] = {name: load_preset(name) for name in presets}
    tasks |= {name: {"task": name, "env": {"id": name}} for name in envs}
    budgets = QUICK_STEPS if quick else {}
    if steps is not None:
        budgets = dict.fromkeys(tasks, steps)
    default = QUICK_FAMILIES if quick else FAMILIES
    return lay_out(
        tasks,
        choose("family", families, FAMILIES) if families else list(default),
        choose("planner", planners, PLANNERS),
        seeds or (QUICK_SEEDS if quick else SEEDS),
        budgets,
        overrides,
        out,
        quick,
    )
