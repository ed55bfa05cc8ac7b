"""Runs that are stopped, fail, diverge or fill the disk lose nothing."""

import json
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.helpers.checkpoints import same
from tests.helpers.commands import run
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training import foreign, trainer
from worldplan.agent.training.checkpoint import find, read
from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.events import EvaluationEvent, Listener, StepEvent
from worldplan.agent.training.trainer import Trainer


@pytest.fixture
def bad(toy: dict[str, Any]) -> dict[str, Any]:
    return {**toy, "env": {"id": "bad_envs:ToyBad-v0"}}


def make(base: dict[str, Any], settings: list[str], run_dir: Path, **how: Any) -> Trainer:
    return Trainer(resolve(base, settings), run_dir, Console(quiet=True), **how)


def interrupt(*_: object, **__: object) -> Any:
    """Like code that hangs while the user presses Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)


def test_a_hanging_step_is_left_and_the_run_saved(
    bad: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    bad["env"]["kwargs"] = {"hangs_at": 70}
    t = make(bad, [*small, "eval_interval=1000"], tmp_path)
    with pytest.raises(KeyboardInterrupt) as caught:
        t.run()
    assert t.step == t.replay.transitions == t.saved_step == 69
    assert "saved up to step 69; resume by" in caught.value.__notes__[0]
    resumed = make(bad, [*small, "eval_interval=1000"], tmp_path, resume=True)
    resumed.run()
    assert resumed.learner.updates == resumed.step == 120


def test_a_resumed_run_remembers_its_evaluations(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    make(toy, small, tmp_path).run()
    rows = read_curve(tmp_path / "curve.csv")
    lag = make(toy, small, tmp_path, resume=True).held_out.lag
    assert lag.worst == min(r[k] for r in rows for k in ("return", "policy_return"))


def test_a_hanging_evaluation_is_left_and_made_up_for(
    bad: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    t = make(bad, small, tmp_path)
    t.held_out.evaluate = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        t.run()
    assert t.saved_step == 48
    assert read_curve(tmp_path / "curve.csv") == []
    make(bad, small, tmp_path, resume=True).run()
    steps = [row["step"] for row in read_curve(tmp_path / "curve.csv")]
    assert steps == [48, 60, 72, 84, 96, 108, 120]


def test_a_burst_of_updates_is_left_and_made_up_for(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    settings = [*small, "steps=40", "updates_per_step=2"]
    make(toy, settings, tmp_path / "whole").run()
    t = make(toy, settings, tmp_path / "part")
    update = t.update

    def interrupted() -> dict[str, torch.Tensor]:
        if t.learner.updates == 30:
            os.kill(os.getpid(), signal.SIGHUP)
        return update()

    t.update = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        t.run()
    assert t.learner.updates == 31  # the one under way was finished
    make(toy, settings, tmp_path / "part", resume=True).run()
    assert same(tmp_path / "whole", tmp_path / "part")


def test_a_solved_run_stays_solved(toy: dict[str, Any], small: list[str], tmp_path: Path) -> None:
    settings = [*small, "solved=-1000"]
    t = make(toy, settings, tmp_path)

    def killed() -> Any:
        raise RuntimeError("killed before its result")

    t._finish = killed  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        t.run()
    for _ in range(2):
        resumed = make(toy, settings, tmp_path, resume=True)
        resumed.run()
        assert (resumed.step, resumed.stop) == (48, "solved")
        assert json.loads((tmp_path / "result.json").read_text())["solved"] is True


def test_an_error_of_the_environment_is_the_users_and_the_run_is_saved(
    bad: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    bad["env"]["kwargs"] = {"raises_at": 50}
    t = make(bad, [*small, "num_envs=2", "eval_interval=1000"], tmp_path)
    with pytest.raises(ValueError, match="math domain error") as caught:
        t.run()
    assert t.step == t.replay.transitions == t.saved_step == 98
    assert foreign.origin(caught.value) == "the environment"
    told = foreign.report(caught.value)
    assert told.endswith("ValueError: math domain error\n")
    assert "bad_envs.py" in told
    assert "trainer.py" not in told


def test_an_error_of_a_listener_is_saved(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    class Broken(Listener):
        def on_step(self, event: StepEvent) -> None:
            if event.step == 60:
                raise KeyError("broken")

    t = make(toy, small, tmp_path, listeners=[Broken()])
    with pytest.raises(KeyError) as caught:
        t.run()
    assert foreign.origin(caught.value) == "a listener"
    assert t.saved_step == 60
    assert [row["step"] for row in read_curve(tmp_path / "curve.csv")] == [48, 60]


def test_an_error_of_this_package_is_its_own() -> None:
    with pytest.raises(ValueError, match="no column step") as caught:
        read_curve(Path(__file__))
    assert foreign.origin(caught.value) is None


def test_the_command_shows_the_users_traceback(small: list[str], tmp_path: Path) -> None:
    start = ["train", "--env", "bad_envs:ToyBad-v0", *small, "eval_interval=1000"]
    start += [f"run_dir={tmp_path}/x"]
    out = run(*start, "env.kwargs.raises_at=60", code=1)
    assert "bad_envs.py" in out
    assert "the environment raised ValueError: math domain error" in out
    assert f"saved up to step 59; resume by: worldplan train --resume {tmp_path}/x" in out
    # Refused at its first step there is no run, and nothing in the way of the next attempt.
    start[-1] = f"run_dir={tmp_path}/y"
    out = run(*start, "env.kwargs.raises_at=1", code=1)
    assert "resume" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_divergence_ends_the_run_before_it_replaces_a_checkpoint(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    t = make(toy, [*small, "checkpoint_interval=10", "log_interval=1000"], tmp_path)
    update = t.update

    def diverging() -> dict[str, torch.Tensor]:
        metrics = update()
        if t.step == 60:
            t.learner.parameters[0].data.fill_(math.nan)
        return metrics

    t.update = diverging  # type: ignore[method-assign]
    with pytest.raises(
        FloatingPointError, match=r"diverged by step \d+: model encoder.*"
    ) as caught:
        t.run()
    assert 0 < t.saved_step <= 60
    assert f"saved up to step {t.saved_step}, and diverges again" in caught.value.__notes__[0]
    tensors, _ = read(find(tmp_path))
    assert all(torch.isfinite(v).all() for k, v in tensors.items() if "model" in k)


def test_endless_episodes_are_evaluated_saved_and_resumed_bit_for_bit(
    bad: dict[str, Any], small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "NO_LIMIT", 20)
    bad["env"]["kwargs"] = {"limit": 0}
    settings = [*small, "checkpoint_interval=20", "replay.capacity=50", "eval_max_steps=5"]
    settings += ["updates_per_step=0.3", "eval_interval=60"]
    with pytest.warns(UserWarning, match="2 of 2 held-out episodes were cut after 5 decisions"):
        make(bad, settings, tmp_path / "whole").run()
    assert {row["length"] for row in read_curve(tmp_path / "whole" / "curve.csv")} == {5}
    killed_before_a_save(make(bad, settings, tmp_path / "part"), saves=2)
    assert read(find(tmp_path / "part"))[1]["counters"]["step"] == 80
    make(bad, settings, tmp_path / "part", resume=True).run()
    assert same(tmp_path / "whole", tmp_path / "part")


def killed_before_a_save(t: Trainer, saves: int) -> None:
    """As late after a checkpoint as can be."""
    save, left = t._save, [saves]

    def cut() -> None:
        if not left[0]:
            raise RuntimeError("power cut")
        left[0] -= 1
        save()

    t._save = cut  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power cut"):
        t.run()


def test_a_small_replay_of_long_episodes_resumes_bit_for_bit_even_from_the_former_checkpoint(
    bad: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    bad["env"]["kwargs"] = {"limit": 60}
    settings = [*small, "checkpoint_interval=10", "replay.capacity=50", "num_envs=2"]
    settings += ["steps=180", "updates_per_step=0.3", "eval_interval=180"]
    make(bad, settings, tmp_path / "whole").run()
    part = tmp_path / "part"
    killed_before_a_save(make(bad, settings, part), saves=1)
    (find(part) / "tensors.safetensors").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="taking step_000000000"):
        make(bad, settings, part, resume=True).run()
    assert same(tmp_path / "whole", part)


def test_a_full_disk_ends_the_run_and_loses_nothing(
    toy: dict[str, Any], small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*small, "checkpoint_interval=30", "updates_per_step=0.3", "eval_interval=60"]
    make(toy, settings, tmp_path / "whole").run()
    t = make(toy, settings, tmp_path / "part")
    monkeypatch.setattr("worldplan.agent.data.storage._CHUNK", 0)

    def full(descriptor: int, offset: int, size: int) -> None:
        if t.step >= 70:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="no room for the replay: No space left") as caught:
            t.run()
    assert t.step == t.replay.transitions == 70
    assert "saved up to step" in caught.value.__notes__[0]
    make(toy, settings, tmp_path / "part", resume=True).run()
    assert same(tmp_path / "whole", tmp_path / "part")
    for name in ("curve.csv", "episodes.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()


def test_rows_of_another_run_or_damaged_ones_are_refused(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    make(toy, [*small, "steps=60"], tmp_path).run()
    rows = np.lib.format.open_memmap(tmp_path / "replay" / "rows.npy", mode="r+")
    rows["reward"][17] += 1
    rows.flush()
    with pytest.raises(ValueError, match=r"rows\.npy does not hold the rows of the checkpoint"):
        make(toy, [*small, "steps=60"], tmp_path, resume=True)
    file = tmp_path / "replay" / "rows.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"rows\.npy is damaged or cut short"):
        make(toy, [*small, "steps=60"], tmp_path, resume=True)


def test_every_listener_is_ended(toy: dict[str, Any], small: list[str], tmp_path: Path) -> None:
    ended = []

    class Ends(Listener):
        def on_evaluation(self, event: EvaluationEvent) -> None:
            self.run.stop = "enough"

        def on_end(self) -> None:
            ended.append(self)
            raise OSError("the terminal is gone")

    t = make(toy, small, tmp_path, listeners=[Ends(), Ends()])
    with pytest.raises(OSError, match="the terminal is gone"):
        t.run()
    assert len(ended) == 2
    assert make(toy, small, tmp_path, resume=True).stop == "enough"
