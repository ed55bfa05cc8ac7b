"""A progress line in the terminal, and above it a line for each evaluation."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worldplan.agent.evaluation.shown import shown
from worldplan.agent.training.events import EpisodeEvent, EvaluationEvent, Listener, Run, StepEvent


class ProgressLine(Listener):
    """Shows the progress of a run."""

    returns_soon = True

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=2,
        )

    def on_start(self, run: Run) -> None:
        steps = run.config.steps
        self.task = self.progress.add_task(
            "training", total=steps, completed=run.step, speed="", note=""
        )
        self.progress.start()

    def on_step(self, event: StepEvent) -> None:
        self._advance(event.step, speed=f"{event.steps_per_second:.0f}/s")

    def on_episode(self, event: EpisodeEvent) -> None:
        self._advance(event.step, note=f"return {shown(event.total)}")

    def on_evaluation(self, event: EvaluationEvent) -> None:
        returns = event.planner.returns
        line = (
            f"step {event.step:>7,}: return {shown(returns.mean()):>8}  "
            f"({shown(returns.min())} to {shown(returns.max())})"
        )
        if event.policy is not None:
            line += f"   policy alone {shown(event.policy.returns.mean()):>8}"
        self.console.print(line)

    def on_warning(self, text: str) -> None:
        self.console.print(f"warning: {text}", style="yellow", markup=False)

    def on_end(self) -> None:
        self.progress.stop()

    def _advance(self, step: int, **fields: str) -> None:
        fill: dict[str, Any] = dict(fields)
        self.progress.update(self.task, completed=step, **fill)
