"""Families of world models x planners x tasks x seeds, under one budget of environment steps.

Each trial is an ordinary training run in a process of its own (`trial.py` beside this file). So a
comparison can be interrupted anywhere and run again: finished trials are kept, others are resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldplan.agent.config.names import folder_name, one_of
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset, of_environment
from worldplan.agent.config.run import RunConfig
from worldplan.agent.experiments.compare import trial
from worldplan.agent.experiments.compare.trial import MEASURES
from worldplan.agent.experiments.pool.jobs import Job
from worldplan.agent.training.restore import same_config
from worldplan.agent.training.trained import save_config

# What each family of world models sets. All other settings are the same for all families.
FAMILIES: dict[str, tuple[str, ...]] = {
    "jepa": (),
    "jepa without a": ("model.action=false",),
    "ensemble": ("model.kind=ensemble",),
    "autoregressive+a": ("model.kind=autoregressive", "model.action=true"),
    "autoregressive": ("model.kind=autoregressive",),
    "simulator": ("model.kind=simulator",),
}

# What --quick compares takes twenty minutes on two cores: compiling would take half of that, and
# transformers three times as long. The steps are enough to solve the tasks.
QUICK_STEPS = {"inverted-pendulum": 3000, "reacher": 5000, "cartpole-swingup": 12500}
QUICK_FAMILIES = ("jepa", "jepa without a")
QUICK_SETTINGS = (
    *("compile=off", "learner.batch_size=64", "planner.samples=32", "planner.elites=8"),
    *("planner.iterations=2", "updates_per_step=1", "final_episodes=5"),
    "eval_interval=1000000",  # only at the end
)
_SMALLER = ("model.width=32", "model.layers=1", "model.heads=2", "learner.batch_size=32")
QUICK_FAMILY_SETTINGS = {"autoregressive+a": _SMALLER, "autoregressive": _SMALLER}
QUICK_SEEDS, SEEDS = 2, 3


@dataclass(frozen=True)
class Grid:
    """What is compared: on each task every family with every planner, with several seeds."""

    tasks: Mapping[str, Mapping[str, Any]]  # name -> what its runs start from, as of `load_preset`
    families: Sequence[str] = tuple(FAMILIES)
    planners: Sequence[str] = ("mppi",)
    seeds: int = SEEDS
    steps: Mapping[str, int] = field(default_factory=dict)  # of a task; without one, the preset's
    overrides: Sequence[str] = ()  # `key=value` of all trials; they beat what a family sets
    quick: bool = False  # smaller in all that takes time, see `QUICK_SETTINGS`

    def settings(self, task: str, family: str, planner: str, seed: int) -> list[str]:
        """`key=value` of one trial."""
        return [
            # All get the same number of steps: nobody stops early.
            *(f"seed={seed}", "solved=null", "threads=1", f"planner.kind={planner}"),
            *([f"steps={self.steps[task]}"] if task in self.steps else []),
            *(QUICK_SETTINGS if self.quick else ()),
            *(QUICK_FAMILY_SETTINGS.get(family, ()) if self.quick else ()),
            *(*FAMILIES[family], *self.overrides),
        ]


@dataclass(frozen=True)
class Trial:
    """One training run of the comparison."""

    task: str
    family: str
    planner: str
    seed: int
    config: RunConfig
    run_dir: Path

    @property
    def done(self) -> bool:
        return (self.run_dir / MEASURES).exists()

    def job(self) -> Job:
        """What trains and measures it."""
        command = (trial.__name__, str(self.run_dir))
        log = self.run_dir / "log.txt"
        return Job(self.run_dir.name, lambda: command, log, lambda: self.done)


def choose(what: str, wanted: str, names: Iterable[str]) -> list[str]:
    """The names in a comma-separated list.

    Raises:
        ValueError: there is no such name; tells the nearest one.
    """
    known = list(names)
    chosen = [one_of(what, word.strip(), known) for word in wanted.split(",")]
    return list(dict.fromkeys(chosen))


def default_grid(presets: Sequence[str], envs: Sequence[str], *, quick: bool = False) -> Grid:
    """Everything that there is to compare on these tasks, with few seeds.

    Raises:
        ValueError: no such preset, or there is no task.
    """
    if not presets and not envs:
        if not quick:
            raise ValueError("expected tasks (see `worldplan tasks`), --env ID, or --quick")
        presets = list(QUICK_STEPS)
    tasks: dict[str, dict[str, Any]] = {name: load_preset(name) for name in presets}
    tasks |= {name: of_environment(name) for name in envs}
    if quick:
        return Grid(tasks, QUICK_FAMILIES, seeds=QUICK_SEEDS, steps=QUICK_STEPS, quick=True)
    return Grid(tasks)


def lay_out(grid: Grid, out: Path) -> list[Trial]:
    """All trials of the grid, those of the first seed first, each with its folder in `out`.

    Raises:
        ValueError: settings that are not valid, or `out` holds trials with other settings.
    """
    trials = []
    for seed in range(grid.seeds):
        for task, base in grid.tasks.items():
            for family in grid.families:
                for planner in grid.planners:
                    config = resolve(base, grid.settings(task, family, planner, seed))
                    name = folder_name(task, family, planner, str(seed))
                    run_dir = out / "runs" / name
                    trials.append(Trial(task, family, planner, seed, config, run_dir))
    for one in trials:
        if not same_config(one.config, one.run_dir):
            save_config(one.config, one.run_dir)
    return trials
