"""A training run from its start to its result, as the command and `worldplan.train` make it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from worldplan.agent.api.terminal import Terminal, new_run_dir
from worldplan.agent.config.changes import lengthened
from worldplan.agent.config.reading import reading
from worldplan.agent.config.run import RunConfig
from worldplan.agent.training import checkpoint
from worldplan.agent.training.events import Listener
from worldplan.agent.training.listeners.best import BEST
from worldplan.agent.training.restore import read_config
from worldplan.agent.training.trainer import Trainer
from worldplan.agent.training.trust import require
from worldplan.envs import is_given


def begin(config: RunConfig, console: Terminal, listeners: Iterable[Listener] = ()) -> Trainer:
    """Makes a run and trains it to its end. Errors are those of `Trainer` and `new_run_dir`."""
    with new_run_dir(config) as run_dir:
        return _carry_out(config, run_dir, console, listeners, resume=False)


def go_on(
    run_dir: Path,
    console: Terminal,
    listeners: Iterable[Listener] = (),
    *,
    overrides: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    trust: bool = False,
    env: str | None = None,
) -> Trainer:
    """Resumes a run, with its own settings: see `lengthened` for what may be given.

    `trust` and `env` are as for `trust.require`.

    Raises:
        ValueError, FileNotFoundError: it is none, or not trusted; and as `lengthened`, `Trainer`.
    """
    config = lengthened(run_config(run_dir), overrides, settings)
    require(config.env, run_dir, trust=trust, named=env)
    return _carry_out(config, run_dir, console, listeners, resume=True)


def run_config(run_dir: Path) -> RunConfig:
    """The settings of a run. Raises ValueError or FileNotFoundError if there is none."""
    if (run_dir / "state.json").is_file():
        raise ValueError(
            f"expected the run {run_dir.parent.parent} to resume, got a checkpoint of it"
        )
    with warnings.catch_warnings(action="ignore"):  # the trainer will warn
        found = checkpoint.find(run_dir)
        with reading(found):
            _, state = checkpoint.read(found)
            config = read_config(state)
    if "optimizer" not in state:
        raise ValueError(
            f"{run_dir} holds an agent alone, of agent.save or `worldplan fit`; expected a training"
            " run to resume"
        )
    return config


def _carry_out(
    config: RunConfig,
    run_dir: Path,
    console: Terminal,
    listeners: Iterable[Listener],
    *,
    resume: bool,
) -> Trainer:
    """Trains, evaluates, draws the learning curve, and prints where everything is."""
    from worldplan.agent.evaluation.film import prepare_rendering

    if config.video:
        console.print(prepare_rendering())
    console.headed(config.task, f"  {config.env.id}  seed {config.seed}  -> {run_dir}")
    trainer = Trainer(config, run_dir, console, resume=resume, listeners=listeners)
    result = trainer.run()
    from worldplan.agent.experiments.report.run_curve import plot_curve

    console.evaluation(result, result.summary())
    plot_curve(run_dir)
    why = trainer.stop or "done"
    minutes = trainer.clock["total"] / 60
    console.print(f"{why} after {trainer.step:,} steps and {minutes:.1f} minutes")
    for name, path in (
        ("checkpoint", run_dir / "checkpoints"),
        ("best agent", run_dir / BEST),
        ("learning curve", run_dir / "curve.png"),
        ("its figures", run_dir / "curve.csv"),
        ("result", run_dir / "result.json"),
    ):
        if path.exists():  # a short run has no evaluation but the last
            console.print(f"  {name:15} {path}")
    console.print(f"  {'TensorBoard':15} tensorboard --logdir {run_dir / 'logs'}")
    if not is_given(config.env.id):
        console.print(f"  {'film it':15} worldplan rollout {run_dir} --video out.mp4")
    return trainer
