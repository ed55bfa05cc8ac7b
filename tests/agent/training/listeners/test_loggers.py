"""Loggers: the same tags everywhere, and each service in its offline mode."""

import importlib
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from worldplan.agent.config.overrides import resolve
from worldplan.agent.evaluation.evaluate import Evaluation
from worldplan.agent.training.events import EpisodeEvent, EvaluationEvent, Run, UpdateEvent
from worldplan.agent.training.listeners.loggers import LOGGERS, Logger, MLflow, Trackio, Wandb
from worldplan.agent.training.listeners.tensorboard import TensorBoard

TAGS = {
    *("charts/episodic_return", "charts/episodic_length", "rollout/ep_rew_mean"),
    *("rollout/ep_len_mean", "eval/mean_reward", "eval/mean_ep_length", "evaluation/return"),
    *("loss/value", "time/steps_per_second", "policy/entropy", "optimism/after_1"),
}


def evaluation(*returns: float) -> EvaluationEvent:
    nothing: Any = np.zeros(len(returns))
    lengths, over = np.full(len(returns), 5), np.zeros(len(returns), bool)
    played = Evaluation(
        "planner", [1] * len(returns), np.array(returns), lengths, over, 1.0,
        nothing, nothing, nothing[None], nothing[None],
    )  # fmt: skip
    return EvaluationEvent(30, 60, played, None, {"after_1": 0.5}, {"entropy": 1.0})


def tell(logger: Logger, toy: dict[str, Any], run_dir: Path) -> Logger:
    """A short run."""
    run_dir.mkdir(exist_ok=True)
    run: Any = SimpleNamespace(config=resolve(toy), run_dir=run_dir, step=0, stop=None)
    logger.on_start(run)
    logger.on_episode(EpisodeEvent(10, 4.0, 10))
    logger.on_episode(EpisodeEvent(30, 8.0, 20))
    logger.on_update(UpdateEvent(20, {"loss": {"value": 0.1}, "time": {"steps_per_second": 9.0}}))
    logger.on_evaluation(evaluation(1.0, 3.0))
    logger.on_end()
    return logger


class Recorder(Logger):
    """The least that makes a logger."""

    def open(self, run: Run) -> None:
        self.found: dict[str, list[tuple[int, float]]] = defaultdict(list)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for tag, value in values.items():
            self.found[tag].append((step, value))

    def close(self) -> None:
        self.closed = True


def test_three_methods_make_a_logger(toy: dict[str, Any], tmp_path: Path) -> None:
    logger = tell(Recorder(), toy, tmp_path)
    assert isinstance(logger, Recorder)
    assert set(logger.found) >= TAGS
    assert logger.found["charts/episodic_return"] == [(10, 4.0), (30, 8.0)]
    assert logger.found["rollout/ep_rew_mean"] == [(10, 4.0), (30, 6.0)]
    assert logger.found["eval/mean_reward"] == logger.found["evaluation/return"] == [(30, 2.0)]
    assert logger.closed


def test_tensorboard_has_the_tags(toy: dict[str, Any], tmp_path: Path) -> None:
    tell(TensorBoard(tmp_path), toy, tmp_path)
    found = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert set(found.Tags()["scalars"]) >= TAGS
    assert [e.value for e in found.Scalars("rollout/ep_rew_mean")] == [4.0, 6.0]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_what_is_called(
    name: str, toy: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's own functions, recorded, whether it is installed or not."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def call(what: str) -> Any:
        def record(values: Any = None, **how: Any) -> Any:
            calls.append((what, {**(values if isinstance(values, dict) else {}), **how}))
            return fake

        return record

    names = ("init", "log", "finish", "define_metric")
    fake = SimpleNamespace(**{n: call(n) for n in names})
    monkeypatch.setitem(sys.modules, name, fake)
    tell(LOGGERS[name](project="mine"), toy, tmp_path)  # type: ignore[call-arg]
    (first, init), *_, (last, _) = calls
    assert (first, last) == ("init", "finish")
    assert init["project"] == "mine"
    assert init["resume"] == "allow"
    assert init["config"]["task"] == "toy"
    logged = [how for what, how in calls if what == "log"]
    assert {"charts/episodic_return": 4.0, "step": 10}.items() <= logged[0].items()


def test_wandb_offline(
    toy: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tell(Wandb(), toy, tmp_path)
    (written,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    for tag in TAGS:
        assert tag.encode() in written.read_bytes()


def test_trackio_offline(
    toy: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read at its import
    trackio = pytest.importorskip("trackio")
    tell(Trackio(project="mine"), toy, tmp_path / "run")
    storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    assert [run.name for run in trackio.Api().runs("mine")] == ["run"]
    logged = storage.get_logs("mine", "run")
    assert {tag for row in logged for tag in row} >= TAGS
    means = [(r["step"], r[tag]) for r in logged if (tag := "rollout/ep_rew_mean") in r]
    assert means == [(10, 4.0), (30, 6.0)]
    assert storage.get_run_config("mine", "run")["task"] == "toy"


def test_mlflow_offline(
    toy: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs more packages
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    first = tell(MLflow(), toy, tmp_path)
    again = tell(MLflow(), toy, tmp_path)  # as a resumed run
    assert isinstance(first, MLflow)
    assert isinstance(again, MLflow)
    assert first.id == again.id
    found = again.client.get_run(first.id)
    assert found.data.metrics["rollout/ep_rew_mean"] == 6.0
    assert found.data.params["env.id"] == toy["env"]["id"]
    assert found.info.status == "FINISHED"


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ValueError, match=r"pip install 'worldplan\[mlflow\]'"):
        LOGGERS["mlflow"]()


def test_the_setting_chooses(toy: dict[str, Any]) -> None:
    assert set(LOGGERS) | {"files"} == set(
        json.loads(json.dumps(type(resolve(toy)).model_json_schema()))["properties"]["log"]["enum"]
    )
