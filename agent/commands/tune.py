"""The command tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldplan.agent.commands.terminal import EnvOption, Task, at_work, console, task_settings

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
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="trials at a time; default: one a core", show_default=False
        ),
    ] = None,
) -> None:
    """Search for better settings of a task, by Optuna (extra `tune`).

    After an interruption, repeat the command: finished trials are kept, others are resumed. With
    more --trials a search goes on.
    """
    from worldplan.agent.experiments.pool.local import LocalPool
    from worldplan.agent.experiments.tune.search import make_plan, searching
    from worldplan.agent.experiments.tune.table import best_command, say, tried, write_csv

    base, settings = task_settings(task, env, words)
    plan = make_plan(base, settings, trials=trials, objective=objective, pruner=pruner)
    with searching(plan, out) as search:
        before = tried(search.study, out)
        if before:
            console.print(f"{len(before)} trials in {out} go on")
        with at_work() as show:

            def watch(done: int, running: list[str]) -> None:
                search.watch(done, running)
                show(search.progress())

            LocalPool().run(search.jobs(), watch, jobs)
        search.tell()
        rows = tried(search.study, out)
    write_csv(rows, out / "table.csv")
    console.headed(f"{plan.base['task']}", f"  trial, state, {objective}, final return, settings")
    for line in say(rows):
        console.print(line)
    console.print(f"{_counted([row.state for row in rows])}; all of them: {out / 'table.csv'}")
    if rows[0].state == "complete":
        console.print(f"the best one's run: {search.run_dir(rows[0].number)}")
        console.print(f"train with its settings: {best_command(plan, rows[0])}")


def _counted(states: list[str]) -> str:
    said = {"complete": "finished", "pruned": "pruned", "fail": "refused"}
    return ", ".join(f"{states.count(state)} {word}" for state, word in said.items())
