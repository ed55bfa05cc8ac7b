"""Commands over many runs: compare, report."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from worldplan.agent.commands.terminal import JobsOption, OnOption, console, will_write

Tasks = Annotated[
    list[str] | None,
    typer.Argument(
        help="presets (see `worldplan tasks`), and settings of all runs: agent.discount=0.98 ...",
        metavar="[TASK...] [KEY=VALUE...]",
        show_default=False,
    ),
]


def compare(
    names: Tasks = None,
    env: Annotated[list[str] | None, typer.Option(help="a Gymnasium id: one more task")] = None,
    families: Annotated[
        str | None,
        typer.Option(help="of world models, separated by commas; default: all", show_default=False),
    ] = None,
    planners: Annotated[str, typer.Option(help="separated by commas")] = "mppi",
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="runs of each; default: 3, with --quick 2", show_default=False
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**9,
            help="decisions of each run; default: the preset's",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of runs, table and figure")] = Path("compare"),
    jobs: JobsOption = None,
    on: OnOption = "local",
    quick: Annotated[
        bool, typer.Option("--quick", help="three small tasks; twenty minutes on two cores")
    ] = False,
) -> None:
    """Compare families of world models, planners and tasks under one budget of steps.

    After an interruption, repeat the command: finished runs are kept, others are resumed.
    """
    from worldplan.agent.experiments.compare.grid import (
        FAMILIES,
        choose,
        default_grid,
        lay_out,
    )
    from worldplan.agent.experiments.compare.plot import plot_comparison
    from worldplan.agent.experiments.compare.table import collect, pair_up, say_p, table, write_csv
    from worldplan.agent.experiments.pool import pool_of
    from worldplan.planners import PLANNERS

    pool = pool_of(on)
    presets = [name for name in names or [] if "=" not in name]
    overrides = [name for name in names or [] if "=" in name]
    grid = default_grid(presets, env or [], quick=quick)
    grid = replace(
        grid,
        families=choose("family", families, FAMILIES) if families else grid.families,
        planners=choose("planner", planners, PLANNERS),
        seeds=seeds or grid.seeds,
        steps=grid.steps if steps is None else dict.fromkeys(grid.tasks, steps),
        overrides=overrides,
    )
    trials = lay_out(grid, out)
    console.print(f"{len(trials)} runs in {out / 'runs'}, {sum(c.done for c in trials)} done")
    with console.at_work() as say:
        pool.run(
            [trial.job() for trial in trials],
            lambda done, now: say(f"{done}/{len(trials)} done; {', '.join(now)}"),
            jobs,
        )
    rows = collect(trials)
    pairs = pair_up(rows)
    lines = table(rows, pairs)
    write_csv(lines, out / "table.csv")
    plot_comparison(rows, pairs, out / "figure.png")
    _show(lines)
    for pair in pairs:
        console.print(
            f"{pair.with_action} against {pair.without_action}, {pair.planner}, over "
            f"{len(pair.by_task)} tasks, exchanging seeds: {say_p(pair.overall)}"
        )
    console.print(f"table {out / 'table.csv'}, figure {out / 'figure.png'}")


def _show(lines: list[dict[str, Any]]) -> None:
    """The table as a person reads it, in any width."""
    for line in lines:
        say = {k: _number(v) for k, v in line.items() if isinstance(v, float)}
        console.headed(f"{line['task']}  {line['family']}", f"  {line['planner']}")
        console.print(
            f"    return {say['return']} (95% {say['low']} to {say['high']}); policy alone "
            f"{say['policy']}, random actions {say['random']}, constant-cost baseline "
            f"{say['chance']}; p without a {say['p_without_a']}, p against the baseline "
            f"{say['p_chance']}"
        )
        console.print(
            f"    error 1 and 10 steps ahead: of x {say['error_1_x']}, {say['error_10_x']}; of h "
            f"{say['error_1_h']}, {say['error_10_h']}; sensitivity to a "
            f"{say['action_sensitivity']}; {say['information']} nats in z; "
            f"{say['decision_ms']} ms a decision"
        )


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value + 0.0:.3g}"  # no -0


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="run folders, or folders of them", metavar="RUN...")
    ],
    out: Annotated[Path, typer.Option(help="the picture to draw")] = Path("report.png"),
    markdown: Annotated[bool, typer.Option("--markdown", help="a table to paste")] = False,
) -> None:
    """Draw the learning curves of runs beside published ones, and print their table."""
    from worldplan.agent.experiments.report.curves import find_runs, group, say
    from worldplan.agent.experiments.report.markdown import results
    from worldplan.agent.experiments.report.plot import plot_report

    will_write(out, ".png")
    groups = group(find_runs(runs))
    for line in results(groups) if markdown else say(groups):
        console.print(line)
    plot_report(groups, out)
    console.print(f"drawn to {out}")
