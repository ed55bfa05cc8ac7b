"""A progress line in the terminal, or plain lines elsewhere; and one for each evaluation."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from worldplan.agent.evaluation.shown import shown
from worldplan.agent.evaluation.ticking import Ticking
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
            _Doing(self),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=2,
        )
        self.plain = Ticking(self._line)
        self.speed = self.note = ""

    def on_start(self, run: Run) -> None:
        super().on_start(run)
        self.began = time.monotonic()
        self.task = self.progress.add_task(
            "training", total=run.config.steps, completed=run.step, speed="", note=""
        )
        # A file, a pipe and a notebook cannot replace a line.
        shown: Progress | Ticking = self.progress if self.console.is_interactive else self.plain
        shown.start()

    def on_step(self, event: StepEvent) -> None:
        self.speed = f"{event.steps_per_second:.0f}/s"
        self._advance(event.step, speed=self.speed)

    def on_episode(self, event: EpisodeEvent) -> None:
        self.note = f"return {shown(event.total)}"
        self._advance(event.step, note=self.note)

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
        self.plain.stop()
        self.progress.stop()

    def _advance(self, step: int, **fields: str) -> None:
        fill: dict[str, Any] = dict(fields)
        self.progress.update(self.task, completed=step, **fill)

    def _line(self) -> None:
        spent = timedelta(seconds=round(time.monotonic() - self.began))
        said = f"{spent}  step {self.run.step:,}/{self.run.config.steps:,}"
        parts = [said, self.speed, self.note, self.run.doing]
        self.console.print("  ".join(part for part in parts if part), markup=False)


class _Doing(ProgressColumn):
    """What takes longer than a step, where the run does so."""

    def __init__(self, line: ProgressLine) -> None:
        super().__init__()
        self.line = line

    def render(self, task: Task) -> Text:
        return Text(self.line.run.doing)
