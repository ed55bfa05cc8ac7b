"""Loggers: listeners that send the figures of a run, by tag and step, to some place.

The tags are the same everywhere: see the table in docs/tutorial.md.
"""

from __future__ import annotations

import importlib
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any

from worldplan.agent.config.names import dotted
from worldplan.agent.config.saved import plain
from worldplan.agent.training.disk.manifest import run_id
from worldplan.agent.training.events import (
    EpisodeEvent,
    EvaluationEvent,
    Listener,
    Run,
    UpdateEvent,
)
from worldplan.agent.training.listeners.curves import curve_row

_RECENT = 100  # episodes, of which Stable-Baselines3 shows the mean
_PROJECT = "worldplan"


class Logger(Listener, ABC):
    """What all loggers share: `open`, `log` and `close` make one."""

    @abstractmethod
    def open(self, run: Run) -> None:
        """Before the first figures, also of a resumed run."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Figures by tag, at a step of the run."""

    @abstractmethod
    def close(self) -> None:
        """After the last figures."""

    def on_start(self, run: Run) -> None:
        self.run = run
        self.recent: deque[EpisodeEvent] = deque(maxlen=_RECENT)
        self.open(run)

    def on_episode(self, event: EpisodeEvent) -> None:
        self.recent.append(event)
        n = len(self.recent)
        values = {
            "charts/episodic_return": event.total,
            "charts/episodic_length": event.length,
            "rollout/ep_rew_mean": sum(e.total for e in self.recent) / n,
            "rollout/ep_len_mean": sum(e.length for e in self.recent) / n,
        }
        self.log(values, event.step)

    def on_update(self, event: UpdateEvent) -> None:
        for group, values in event.groups.items():
            self.log(_tagged(group, values), event.step)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        row = {k: v for k, v in curve_row(event).items() if k != "step"}
        usual = {"mean_reward": row["return"], "mean_ep_length": row["length"]}
        for group, values in (
            ("eval", usual),
            ("evaluation", row),
            ("optimism", event.optimism),
            ("policy", event.heads),
        ):
            self.log(_tagged(group, values), event.step)

    def on_end(self) -> None:
        self.close()


class Wandb(Logger):
    """Weights & Biases; `settings` are those of `wandb.init`. Offline by WANDB_MODE=offline."""

    def __init__(self, **settings: Any) -> None:
        """Raises ValueError if the package is not installed."""
        self.module, self.settings = _module("wandb"), settings

    def open(self, run: Run) -> None:
        usual = {"project": os.environ.get("WANDB_PROJECT", _PROJECT), "name": run.run_dir.name}
        place = {"dir": str(run.run_dir), "id": run_id(run.run_dir), "resume": "allow"}
        self.board = self.module.init(
            config=plain(run.config), **{**usual, **place, **self.settings}
        )
        self.board.define_metric("*", step_metric="step")  # its own cannot go back at a resume

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.board.log({**values, "step": step})

    def close(self) -> None:
        self.board.finish()


class Trackio(Logger):
    """Trackio, on this machine or in a Space. `settings` are those of `trackio.init`."""

    def __init__(self, **settings: Any) -> None:
        """Raises ValueError if the package is not installed."""
        self.module, self.settings = _module("trackio"), settings

    def open(self, run: Run) -> None:
        usual = {"project": _PROJECT, "name": run.run_dir.name, "resume": "allow"}
        self.module.init(config=plain(run.config), **{**usual, **self.settings})

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.module.log(dict(values), step=step)

    def close(self) -> None:
        self.module.finish()


class MLflow(Logger):
    """MLflow, at MLFLOW_TRACKING_URI."""

    def __init__(self, experiment: str = _PROJECT) -> None:
        """Raises ValueError if the package is not installed."""
        self.module, self.experiment = _module("mlflow"), experiment

    def open(self, run: Run) -> None:
        self.client = client = self.module.MlflowClient()
        known = client.get_experiment_by_name(self.experiment)
        place = known.experiment_id if known else client.create_experiment(self.experiment)
        tag, own = "worldplan.run", run_id(run.run_dir)
        found = client.search_runs([place], f"tags.`{tag}` = '{own}'")
        if found:  # it is resumed
            self.id = found[0].info.run_id
            client.update_run(self.id, "RUNNING")
            return
        made = client.create_run(place, tags={tag: own}, run_name=run.run_dir.name)
        self.id = made.info.run_id
        for name, value in dotted(plain(run.config)):
            client.log_param(self.id, name, value)

    def log(self, values: Mapping[str, float], step: int) -> None:
        now, metric = int(1000 * time.time()), self.module.entities.Metric
        self.client.log_batch(self.id, [metric(k, float(v), now, step) for k, v in values.items()])

    def close(self) -> None:
        self.client.set_terminated(self.id)


LOGGERS: dict[str, type[Logger]] = {"wandb": Wandb, "trackio": Trackio, "mlflow": MLflow}
"""By the setting `log`."""


def _tagged(group: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"log={name} needs the package {name}: pip install 'worldplan[{name}]' ({error})"
        ) from error
