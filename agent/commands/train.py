"""The command train."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from worldplan.agent.commands.terminal import (
    Overrides,
    Task,
    TrustOption,
    console,
    new_run_dir,
    show_evaluation,
    task_settings,
)


def train(
    task: Task = None,
    overrides: Overrides = None,
    env: Annotated[
        str | None,
        typer.Option(
            help="any Gymnasium id, also module:EnvId, instead of a preset; or, with --resume, the "
            "run's own"
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="run folder to resume from its latest checkpoint"),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", help="run whose weights to start with: of the task given, or its own"
        ),
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Train an agent on a task, then evaluate it and print where the results are."""
    from worldplan.agent.config.overrides import resolve
    from worldplan.agent.training.restore import config_of
    from worldplan.agent.training.trust import require

    if resume is None:
        base, words = _beginning(start, task, env, overrides, trust)
        config = resolve(base, words)
        with new_run_dir(config) as run_dir:
            _train(config, run_dir, resume=False)
    else:
        if given := " ".join([*([] if task is None else [task]), *(overrides or [])]):
            raise ValueError(
                f"--resume takes the settings of the run; expected no others, got {given!r}"
            )
        if (resume / "state.json").is_file():
            raise ValueError(
                f"expected the run {resume.parent.parent} to resume, got a checkpoint of it"
            )
        with warnings.catch_warnings(action="ignore"):  # the trainer will warn
            config = config_of(resume)
        require(config.env, resume, trust=trust, named=env)
        _train(config, resume, resume=True)


def _beginning(
    start: Path | None, task: str | None, env: str | None, overrides: list[str] | None, trust: bool
) -> tuple[dict[str, Any], list[str]]:
    """Settings before the user's, and these; networks are those of the run to start from."""
    from worldplan.agent.config.saved import plain
    from worldplan.agent.training.restore import config_of
    from worldplan.agent.training.trust import require

    if start is None:
        return task_settings(task, env, overrides)
    before = config_of(start)
    known = {"start_from": str(start), "run_dir": None, "data": None}
    if env is None and (task is None or "=" in task):
        require(before.env, start, trust=trust)
        return {**plain(before), **known}, [*([] if task is None else [task]), *(overrides or [])]
    base, words = task_settings(task, env, overrides)
    networks = plain(before)["agent"]
    agent = {**base.get("agent", {}), "model": networks["model"], "heads": networks["heads"]}
    return {**base, **known, "agent": agent}, words


def _train(config: Any, run_dir: Path, *, resume: bool) -> None:
    from worldplan.agent.evaluation.film import prepare_rendering
    from worldplan.agent.training.trainer import Trainer

    if config.video:
        console.print(prepare_rendering())
    console.headed(config.task, f"  {config.env.id}  seed {config.seed}  -> {run_dir}")
    trainer = Trainer(config, run_dir, console, resume=resume)
    result = trainer.run()
    from worldplan.agent.evaluation.statistics import summary
    from worldplan.agent.experiments.report.run_curve import plot_curve

    show_evaluation(result, summary(result.returns, result.seeds))
    plot_curve(run_dir)
    why = "solved" if trainer.stop == "solved" else "done"
    minutes = trainer.clock["total"] / 60
    console.print(f"{why} after {trainer.step:,} steps and {minutes:.1f} minutes")
    for name, path in (
        ("checkpoint", run_dir / "checkpoints"),
        ("learning curve", run_dir / "curve.png"),
        ("its figures", run_dir / "curve.csv"),
        ("result", run_dir / "result.json"),
    ):
        console.print(f"  {name:15} {path}")
    console.print(f"  {'TensorBoard':15} tensorboard --logdir {run_dir / 'logs'}")
    console.print(f"  {'film it':15} worldplan rollout {run_dir} --video out.mp4")
