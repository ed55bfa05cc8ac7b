"""The command train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
        typer.Option(
            help="run folder to resume from its latest checkpoint, to its end or to steps=N"
        ),
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
    from worldplan.agent.api import run
    from worldplan.agent.api.start import beginning
    from worldplan.agent.config.overrides import resolve

    words = [*([] if task is None else [task]), *(overrides or [])]
    if resume is not None:
        if start is not None:
            raise ValueError(
                "expected --resume or --from, got both; to begin anew with its weights: "
                f"worldplan train --from {resume} KEY=VALUE"
            )
        run.go_on(resume, console, overrides=words, trust=trust, env=env)
        return
    base: dict[str, Any] = {}
    own = start is not None and env is None and (task is None or "=" in task)
    if not own:  # else the other run's task too
        base, words = task_settings(task, env, overrides)
    if start is not None:
        base = beginning(start, None if own else base, trust)
    run.begin(resolve(base, words), console)
