"""Compiled code takes over at a fixed step, whatever happens before and after it."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from tests.helpers.checkpoints import same
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.run import RunConfig
from worldplan.agent.learning import compiling
from worldplan.agent.training.compiled import schedule as schedules
from worldplan.agent.training.compiled import takeover
from worldplan.agent.training.compiled.schedule import schedule
from worldplan.agent.training.trainer import Trainer

LONG = [
    *("seed_steps=6", "steps=60", "compile=auto", "compile_after=12", "threads=2"),
    *("eval_interval=20", "checkpoint_interval=10", "updates_per_step=2"),
    "env.kwargs.limit=4",  # decisions in an episode: after each of them a run may be saved
]


class Compiled:
    """In place of torch.compile: other results than the uncompiled code, so that one can tell."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, function: Any, **settings: Any) -> Any:
        def call(*args: Any) -> Any:
            self.calls += 1
            found = function(*args)
            is_loss = isinstance(found, tuple) and isinstance(found[0], Tensor)
            return (1.5 * found[0], *found[1:]) if is_loss else found

        return call


class Idle:
    """In place of the process that compiles."""

    made: list["Idle"]

    def __init__(self, identity: dict[str, Any], threads: int, plans: tuple[int, ...]) -> None:
        assert (threads, plans) == (2, (1, 2, 2))
        assert identity["config"]["task"] == "toy"
        self.polls, self.ended = 3, False
        Idle.made.append(self)

    def working(self) -> bool:
        self.polls -= 1
        return self.polls > 0

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiled]:
    """Compiling, and the process beside, without their minutes."""
    stub, Idle.made, threads = Compiled(), [], [2]
    monkeypatch.setattr(torch, "set_num_threads", lambda count: threads.append(count))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "compile", stub)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++")
    monkeypatch.setattr(takeover, "Beside", Idle)
    compiling.obstacle.cache_clear()
    yield stub
    compiling.obstacle.cache_clear()


def make(base: dict[str, Any], settings: list[str], run_dir: Path, **how: Any) -> Trainer:
    return Trainer(resolve(base, settings), run_dir, Console(quiet=True), **how)


def test_the_compiled_code_takes_over_at_its_step(
    toy: dict[str, Any], small: list[str], tmp_path: Path, compiled: Compiled
) -> None:
    t = make(toy, [*small, *LONG], tmp_path)
    at_work: dict[int, tuple[bool, int]] = {}
    update = t.update

    def noted() -> dict[str, Tensor]:
        at_work[t.step] = t.agent.execution.compiled, torch.get_num_threads()
        return update()

    t.update = noted  # type: ignore[method-assign]
    t.run()
    # The process beside has one of two threads until then.
    assert at_work == {step: (step >= 12, 1 + (step >= 12)) for step in range(6, 61)}
    assert [idle.ended for idle in Idle.made] == [True]
    assert compiled.calls > 2 * 48  # at least each update, each decision


def test_a_run_resumes_bit_for_bit_across_the_takeover(
    toy: dict[str, Any], small: list[str], tmp_path: Path, compiled: Compiled
) -> None:
    """Killed before it, between the updates of its step, and after it."""
    settings, whole = [*small, *LONG], tmp_path / "whole"
    make(toy, settings, whole).run()
    for killed_at in (8, 12, 28):
        part = tmp_path / f"killed-at-{killed_at}"
        t = make(toy, settings, part)
        interrupt_between_the_updates(t, killed_at)
        Idle.made.clear()
        with pytest.raises(KeyboardInterrupt):
            t.run()
        assert (t.saved_step, t.updates_due) == (killed_at, 1)
        assert torch.get_num_threads() == 2
        make(toy, settings, part, resume=True).run()
        assert [idle.ended for idle in Idle.made] == [True] * (1 + (killed_at < 12))
        assert same(whole, part)
        for name in ("curve.csv", "episodes.csv"):
            assert (whole / name).read_bytes() == (part / name).read_bytes()


def interrupt_between_the_updates(t: Trainer, step: int) -> None:
    update = t.update

    def interrupted() -> dict[str, Tensor]:
        if t.step == step and t.updates_due >= 2:  # another waits
            os.kill(os.getpid(), signal.SIGHUP)
        return update()

    t.update = interrupted  # type: ignore[method-assign]


def test_a_run_does_not_depend_on_who_compiles(
    toy: dict[str, Any],
    small: list[str],
    tmp_path: Path,
    compiled: Compiled,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = [*small, *LONG, "steps=30", "compile_after=6", "eval_interval=100"]
    make(toy, settings, tmp_path / "one").run()

    def none(*args: object) -> Any:
        raise OSError("no more processes")

    monkeypatch.setattr(takeover, "Beside", none)
    make(toy, settings, tmp_path / "other").run()
    assert same(tmp_path / "one", tmp_path / "other")


def test_a_signal_ends_the_wait_for_the_compiler(
    toy: dict[str, Any],
    small: list[str],
    tmp_path: Path,
    compiled: Compiled,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(idle: Idle) -> bool:
        os.kill(os.getpid(), signal.SIGHUP)
        return True

    monkeypatch.setattr(Idle, "working", never)
    t = make(toy, [*small, *LONG], tmp_path)
    with pytest.raises(KeyboardInterrupt) as caught:
        t.run()
    assert t.saved_step == 12
    assert "saved up to step 12" in caught.value.__notes__[0]
    assert Idle.made[0].ended


def config(*settings: str) -> RunConfig:
    return resolve({"task": "x", "env": {"id": "X-v0"}}, [*settings])


@pytest.mark.parametrize(
    ("settings", "steps", "threads", "at", "says"),
    [
        ([], 5_000, 2, None, "starts at once, and compiles nothing"),
        ([], 9_999, 2, None, "starts at once, and compiles nothing"),
        ([], 10_000, 2, 2_000, "takes over at step 2,000"),
        ([], 10_000, 1, 0, "compiles first"),
        ([], 5_000, 1, None, "compiles nothing"),
        (["compile_after=0"], 10, 2, 0, "compiles first"),
        (["compile=on"], 10, 2, 0, "as asked"),
        (["compile=off"], 10**9, 2, None, "as asked"),
    ],
)
def test_the_schedule(
    settings: list[str],
    steps: int,
    threads: int,
    at: int | None,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schedules, "no_compiler", lambda: None)
    found = schedule(config(*settings), steps, threads)
    assert found.at == at
    assert says in found.note


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = schedule(config(), 10**6, 2)
    assert found.at is None
    assert "apt-get install g++" in found.note
