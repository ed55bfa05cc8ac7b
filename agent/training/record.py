"""What a run writes while it goes: learning curve, TensorBoard, and a progress line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from worldplan.agent.config.names import dotted
from worldplan.agent.evaluation.evaluate import Evaluation
from worldplan.agent.evaluation.film import animation
from worldplan.agent.training.curve import Curve


class Record:
    """Files of one run: `curve.csv` of evaluations, `episodes.csv`, TensorBoard's in `logs`.

    Columns are a function of seed and configuration alone, never of the clock, so that a resumed
    run can be compared with an uninterrupted one byte by byte; times go to TensorBoard.
    """

    def __init__(
        self, run_dir: Path, steps: int, console: Console, resume_step: int | None = None
    ) -> None:
        self.curve = Curve(run_dir / "curve.csv", resume_step)
        self.episodes = Curve(run_dir / "episodes.csv", resume_step)
        self.writer = SummaryWriter(str(run_dir / "logs"), purge_step=resume_step)
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
        self.task = self.progress.add_task(
            "training", total=steps, completed=resume_step or 0, speed="", note=""
        )

    def __enter__(self) -> Record:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()
        self.writer.close()

    def settings(self, config: Mapping[str, Any]) -> None:
        """The run's settings: a text to read, and hyper-parameters by which runs are compared."""
        self.writer.add_text("config", f"```\n{json.dumps(config, indent=2)}\n```")
        # TensorBoard takes numbers and texts only. `add_hparams` would do, but opens a run of its
        # own for it.
        flat = {k: v if isinstance(v, int | float) else str(v) for k, v in dotted(config)}
        for summary in hparams(flat, {"evaluation/return": None}):  # type: ignore[no-untyped-call]
            self._add(summary)

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{group}/{name}", value, step)

    def episode(self, step: int, total: float, length: int) -> None:
        """An episode that was collected, of return `total`."""
        self.episodes.append({"step": step, "return": float(total), "length": int(length)})
        self.scalars("episode", {"return": total, "length": length}, step)
        self.advance(step, note=f"return {total:.1f}")

    def evaluation(
        self, step: int, frames: int, planner: Evaluation, policy: Evaluation | None
    ) -> None:
        """A row of the learning curve: the planner, and the policy alone on the same episodes.

        Without a policy, its return is written as NaN.
        """
        alone = math.nan if policy is None else float(policy.returns.mean())
        row = {
            "step": step,
            "frames": frames,
            "return": float(planner.returns.mean()),
            "min": float(planner.returns.min()),
            "max": float(planner.returns.max()),
            "length": float(planner.lengths.mean()),
            "policy_return": alone,
            "predicted": float(planner.predicted.mean()),
            "realised": float(planner.realised.mean()),
        }
        self.curve.append(row)
        self.scalars("evaluation", {k: v for k, v in row.items() if k != "step"}, step)
        self.say(
            f"step {step:>7,}: return {row['return']:8.1f}  "
            f"({row['min']:.1f} to {row['max']:.1f})"
            + ("" if policy is None else f"   policy alone {alone:8.1f}")
        )

    def film(self, video: Path, step: int) -> None:
        """A video, as an animated image: TensorBoard's own videos need moviepy."""
        gif, height, width = animation(video)
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        summary = Summary(value=[Summary.Value(tag="evaluation/episode", image=image)])
        self._add(summary, step)

    def _add(self, summary: Any, step: int | None = None) -> None:
        writer = self.writer._get_file_writer()  # type: ignore[no-untyped-call]
        writer.add_summary(summary, step)

    def say(self, line: str) -> None:
        """A line above the progress bar."""
        self.console.print(line)

    def advance(self, step: int, **fields: str) -> None:
        fill: dict[str, Any] = dict(fields)
        self.progress.update(self.task, completed=step, **fill)


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never half of it."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(content, indent=indent) + "\n")
    draft.replace(path)
