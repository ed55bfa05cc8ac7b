"""`worldplan.tune`: the command of this name, from Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldplan.agent.api.terminal import Terminal
from worldplan.agent.config.names import dotted
from worldplan.agent.config.presets import of_task
from worldplan.agent.experiments.pool import pool_of
from worldplan.agent.experiments.pool.jobs import Pool
from worldplan.agent.experiments.tune.search import Plan, make_plan, searching
from worldplan.agent.experiments.tune.table import Tried, tried, write_csv


def tune(
    task: str,
    search: Mapping[str, str],
    *,
    trials: int = 20,
    objective: str = "area",
    pruner: str = "median",
    out: str | Path = "tune",
    jobs: int | None = None,
    on: str = "local",
    quiet: bool = False,
    **settings: Any,
) -> list[Tried]:
    """Searches for better settings of a task, by Optuna, as the command `worldplan tune` does.

        found = worldplan.tune("reacher", {"planner.horizon": "2..6", "discount": "0.9..0.99"})
        agent = worldplan.load(found[0].run_dir)

    Called again with the same arguments, it goes on: finished trials are kept, others are resumed.

    Args:
        task: a preset or a Gymnasium id. Each trial is a process, to which no object can be given.
        search: what to search over, by setting: "LOW..HIGH", "LOW..HIGH:log" or "A,B,C".
        trials: how many in all, finished ones too.
        objective: to maximise: "area", the mean return of all evaluations, or "last", that of the
            last three.
        pruner: what ends hopeless trials: "median", "hyperband" or "none".
        out: folder of the search.
        jobs: trials at a time; None: one on each core.
        on: "local", "ray" or "ray://HOST:PORT".
        quiet: prints nothing.
        settings: of all trials, as for `worldplan.train`.

    Returns:
        The trials, finished ones first, and the best of these first.

    Raises:
        ValueError: an unknown setting, a range that is none, or a folder of another search; and if
            trials failed.
        BlockingIOError: another process searches in the folder.
    """
    words = [f"{name}={_text(value)}" for name, value in [*dotted(settings), *search.items()]]
    plan = make_plan(of_task(task), words, trials=trials, objective=objective, pruner=pruner)
    return carry_out(plan, Path(out), pool_of(on), jobs, Terminal(soft_wrap=True, quiet=quiet))


def carry_out(
    plan: Plan, out: Path, pool: Pool, jobs: int | None, console: Terminal
) -> list[Tried]:
    """Makes the trials of a plan, and writes their table."""
    with searching(plan, out) as search:
        if before := len(tried(search.study, out)):
            console.print(f"goes on: {before} of {plan.trials} trials are in {out}")
        with console.at_work() as show:

            def watch(done: int, running: list[str]) -> None:
                search.watch(done, running)
                show(search.progress())

            pool.run(search.jobs(), watch, jobs)
        search.tell()
        rows = tried(search.study, out)
    write_csv(rows, out / "table.csv")
    return rows


def _text(value: object) -> str:
    """A value as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
