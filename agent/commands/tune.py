"""The command tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldplan.agent.commands.terminal import (
    EnvOption,
    JobsOption,
    OnOption,
    Task,
    console,
    task_settings,
)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        help="what to search over, and settings of all trials: planner.horizon=2..6 "
        "learner.learning_rate=1e-4..3e-3:log seed_steps=500,1000 steps=10000 ...",
        metavar="[KEY=LOW..HIGH[:log]] [KEY=A,B,C] [KEY=VALUE]",
    ),
]


def tune(
    task: Task = None,
    words: Words = None,
    env: EnvOption = None,
    trials: Annotated[int, typer.Option(min=1, max=100_000, help="in all, finished ones too")] = 20,
    objective: Annotated[
        str,
        typer.Option(
            help="to maximise: area, the mean return of all evaluations, or last, that of the last "
            "three"
        ),
    ] = "area",
    pruner: Annotated[
        str, typer.Option(help="what ends hopeless trials: median, hyperband or none")
    ] = "median",
    out: Annotated[Path, typer.Option(help="folder of the search")] = Path("tune"),
    jobs: JobsOption = None,
    on: OnOption = "local",
) -> None:
    """Search for better settings of a task, by Optuna (extra `tune`).

    After an interruption, repeat the command: finished trials are kept, others are resumed. With
    more --trials a search goes on.
    """
    from worldplan.agent.api.tune import carry_out
    from worldplan.agent.experiments.pool import pool_of
    from worldplan.agent.experiments.tune.search import make_plan
    from worldplan.agent.experiments.tune.table import best_command, say

    pool = pool_of(on)
    base, settings = task_settings(task, env, words)
    plan = make_plan(base, settings, trials=trials, objective=objective, pruner=pruner)
    rows = carry_out(plan, out, pool, jobs, console)
    console.headed(f"{plan.base['task']}", f"  trial, state, {objective}, final return, settings")
    for line in say(rows):
        console.print(line)
    console.print(f"{_counted([row.state for row in rows])}; all of them: {out / 'table.csv'}")
    if rows[0].state == "complete":
        console.print(f"the best one's run: {rows[0].run_dir}")
        console.print(f"train with its settings: {best_command(plan, rows[0])}")


def _counted(states: list[str]) -> str:
    said = {"complete": "finished", "pruned": "pruned", "fail": "refused"}
    return ", ".join(f"{states.count(state)} {word}" for state, word in said.items())
