"""Events of a training run, and the listeners that they are sent to.

class Stopper(Listener):
    def on_evaluation(self, event):
        if event.planner.returns.mean() > 900:
            self.run.stop = "good enough"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from worldplan.agent.config.run import RunConfig
from worldplan.agent.evaluation.evaluate import Evaluation
from worldplan.agent.training.trained import TrainedAgent


class Run(Protocol):
    """A training run, as its listeners see it."""

    config: RunConfig
    run_dir: Path
    agent: TrainedAgent
    step: int  # decisions so far, over all environments
    stop: str | None  # set it to a reason to end the run after this step
    doing: str  # what takes longer than a step right now; "" if nothing does


@dataclass(frozen=True)
class StepEvent:
    """Each environment made one decision."""

    step: int  # decisions so far, over all environments
    steps_per_second: float


@dataclass(frozen=True)
class EpisodeEvent:
    """An episode ended while collecting."""

    step: int
    total: float  # undiscounted return
    length: int  # decisions


@dataclass(frozen=True)
class UpdateEvent:
    """Metrics after a gradient update; sent every `log_interval` decisions."""

    step: int
    groups: Mapping[str, Mapping[str, float]]  # such as loss, model, time -> name -> value


@dataclass(frozen=True)
class EvaluationEvent:
    """Held-out episodes were played."""

    step: int
    frames: int
    planner: Evaluation
    policy: Evaluation | None  # the policy alone on the same episodes; None if there is none
    optimism: Mapping[str, float]  # see `calibration.optimism_by_horizon`
    heads: Mapping[str, float]  # see `diagnostics.diagnose_policy`; {} without a policy


@dataclass(frozen=True)
class CheckpointEvent:
    """A checkpoint is complete."""

    step: int
    path: Path


class Listener:
    """Base of listeners: override the methods of the events you need. `run` is the run.

    Methods are called in the training process, between its steps. Where one returns False, the run
    ends after that step, as if it had set `run.stop`. An exception ends the run; it is saved up to
    that step.
    """

    run: Run
    name: str = ""  # in messages; default: that of its class
    # Whether a signal waits for its methods. Others are left by KeyboardInterrupt.
    returns_soon: ClassVar[bool] = False

    def on_start(self, run: Run) -> None:
        """Before the first step, also of a resumed run."""
        self.run = run

    def on_step(self, event: StepEvent) -> bool | None: ...

    def on_episode(self, event: EpisodeEvent) -> bool | None: ...

    def on_update(self, event: UpdateEvent) -> bool | None: ...

    def on_evaluation(self, event: EvaluationEvent) -> bool | None: ...

    def on_checkpoint(self, event: CheckpointEvent) -> bool | None: ...

    def on_warning(self, text: str) -> None: ...

    def on_end(self) -> None:
        """After the last step, and after an error or a signal."""


class Listeners(Listener):
    """Sends events to several listeners, in order; in `guard` to those that may take long."""

    def __init__(
        self,
        listeners: Iterable[Listener],
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.all, self.guard = list(listeners), guard
        self.started: list[Listener] = []

    def on_start(self, run: Run) -> None:
        self.run = run
        for listener in self.all:
            self._tell(listener, "on_start", run)
            self.started.append(listener)

    def on_step(self, event: StepEvent) -> None:
        self._send("on_step", event)

    def on_episode(self, event: EpisodeEvent) -> None:
        self._send("on_episode", event)

    def on_update(self, event: UpdateEvent) -> None:
        self._send("on_update", event)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self._send("on_evaluation", event)

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        self._send("on_checkpoint", event)

    def on_warning(self, text: str) -> None:
        self._send("on_warning", text)

    def on_end(self) -> None:
        with ExitStack() as stack:  # each of them ends, whatever another one raises
            for listener in reversed(self.started):
                stack.callback(listener.on_end)

    def _send(self, method: str, *event: Any) -> None:
        for listener in self.all:
            self._tell(listener, method, *event)

    def _tell(self, listener: Listener, method: str, *event: Any) -> None:
        with nullcontext() if listener.returns_soon else self.guard():
            answer = getattr(listener, method)(*event)
        if isinstance(answer, bool | np.bool_) and not answer:
            self.run.stop = f"stopped by {listener.name or type(listener).__name__}"
