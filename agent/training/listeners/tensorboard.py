"""Logs of a run for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from worldplan.agent.config.names import dotted
from worldplan.agent.config.saved import plain
from worldplan.agent.evaluation.film import animation
from worldplan.agent.training.events import EvaluationEvent, Run
from worldplan.agent.training.listeners.films import film_path
from worldplan.agent.training.listeners.loggers import Logger


class TensorBoard(Logger):
    """Writes scalars, settings and films to the folder `logs` of a run."""

    returns_soon = True

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def open(self, run: Run) -> None:
        self.writer = SummaryWriter(str(self.run_dir / "logs"), purge_step=run.step or None)
        settings: Mapping[str, Any] = plain(run.config)
        self.writer.add_text("config", f"```\n{json.dumps(settings, indent=2)}\n```")
        # TensorBoard takes only numbers and strings. `add_hparams` would create a run of its own.
        flat = {k: v if isinstance(v, int | float) else str(v) for k, v in dotted(settings)}
        for summary in hparams(flat, {"evaluation/return": None}):  # type: ignore[no-untyped-call]
            self._add(summary)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        super().on_evaluation(event)
        video = film_path(self.run_dir, event.step)
        if video.exists():
            self.film(video, event.step)

    def film(self, video: Path, step: int) -> None:
        """Adds a film as an animated image: TensorBoard's videos need moviepy."""
        gif, height, width = animation(video)
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        self._add(Summary(value=[Summary.Value(tag="evaluation/episode", image=image)]), step)

    def close(self) -> None:
        self.writer.close()

    def _add(self, summary: Any, step: int | None = None) -> None:
        assert self.writer.file_writer is not None, "not closed yet"
        self.writer.file_writer.add_summary(summary, step)
