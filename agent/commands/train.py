"""The command train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldplan.agent.commands.terminal import (
    Overrides,
    Task,
    TrustOption,
    console,
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
    trust: TrustOption = False,
) -> None:
    """Train an agent on a task, then evaluate it and print where the results are."""
    from worldplan.agent.api import run
    from worldplan.agent.config.overrides import resolve

    if resume is None:
        run.begin(resolve(*task_settings(task, env, overrides)), console)
        return
    if given := " ".join([*([] if task is None else [task]), *(overrides or [])]):
        raise ValueError(
            f"--resume takes the settings of the run; expected no others, got {given!r}"
        )
    run.go_on(resume, console, trust=trust, env=env)
