"""The command line. Each command is a function of a file beside this one."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from worldplan.agent.commands.errors import Commands, guarded
from worldplan.agent.commands.experiments import compare, report
from worldplan.agent.commands.imagine import imagine
from worldplan.agent.commands.offline import collect, fit
from worldplan.agent.commands.play import evaluate, rollout
from worldplan.agent.commands.robot import export, serve
from worldplan.agent.commands.terminal import console
from worldplan.agent.commands.train import train
from worldplan.agent.commands.tune import tune

app = typer.Typer(cls=Commands, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"worldplan {importlib.metadata.version('worldplan')}", highlight=False)
        raise typer.Exit


@app.callback()
def _all(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="show it")
    ] = False,
) -> None:
    """Train an agent that plans in the world model it learns."""


def main() -> None:
    """Entry point of the `worldplan` command."""
    app()


def tasks() -> None:
    """List the presets and what they need."""
    from worldplan.agent.config.presets import tasks as list_tasks

    for task in list_tasks().values():
        needs = f"   needs the extra {task.needs}" if task.needs else ""
        console.headed(f"{task.name:26}", f"{task.steps:>7,} steps   {task.env_id}{needs}")
        console.print(f"    {task.description}")
    console.print("\nAn extra is installed by: pip install 'worldplan[EXTRA]'")
    console.print("Any other Gymnasium environment: worldplan train --env ID")


for command in (
    *(train, evaluate, rollout, imagine, tasks, collect, fit, compare, report, tune, serve, export),
):
    app.command()(guarded(command))
