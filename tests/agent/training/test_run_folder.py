"""A run's folder is made whole or not at all, and one process at a time works in it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from worldplan.agent.api import terminal
from worldplan.agent.api.terminal import new_run_dir
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.disk import run_folder
from worldplan.agent.training.trainer import Trainer

HOLD = """
import fcntl, pathlib, sys
pathlib.Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
file = open(sys.argv[1] + "/lock", "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""


@pytest.fixture(autouse=True)
def _free() -> Iterator[None]:
    yield
    for path in list(run_folder._held):
        run_folder.let_go(path)


def elsewhere(folder: Path) -> subprocess.Popen[bytes]:
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def fail(run: Path) -> None:
    """A start that ends in an error."""
    with run_folder.made_whole(run) as draft:
        fill(draft)
        raise RuntimeError


def fill(run: Path) -> None:
    (run / "replay").mkdir()
    (run / "config.yaml").write_text("new")
    (run / "checkpoints" / "step_000000000").mkdir(parents=True)


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    run_folder.hold(tmp_path)
    run_folder.hold(tmp_path)  # again by the same process
    run_folder.let_go(tmp_path)
    process = elsewhere(tmp_path)
    with pytest.raises(BlockingIOError, match="is in use by"):
        run_folder.hold(tmp_path)
    process.kill()
    process.wait()
    run_folder.hold(tmp_path)


def test_a_run_in_use_is_not_resumed_by_another_process(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    process = elsewhere(tmp_path)
    with pytest.raises(BlockingIOError, match="is in use by"):
        Trainer(resolve(toy, small), tmp_path, Console(quiet=True), resume=True)
    process.kill()
    process.wait()


def test_two_runs_of_the_same_second_get_two_folders(
    toy: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "folder_name", lambda *parts: "toy-0")
    with new_run_dir(resolve(toy, [])) as first, new_run_dir(resolve(toy, [])) as second:
        assert [str(first), str(second)] == ["runs/toy-0", "runs/toy-0-2"]


def test_a_folder_is_made_whole(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "x"
    for _ in range(2):  # what an error leaves is not in the way of the next attempt
        with pytest.raises(RuntimeError):
            fail(run)
        assert list(run.parent.iterdir()) == []
    (run.parent / ".x.new").mkdir()  # nor what a kill leaves
    (run.parent / ".x.new" / "replay").mkdir()
    with run_folder.made_whole(run) as draft:
        fill(draft)
        assert not run.exists()
    assert run_folder.holds_run(run)
    assert [path.name for path in run.parent.iterdir()] == ["x"]
    with (
        pytest.raises(FileExistsError, match="already holds a run; resume it by"),
        run_folder.made_whole(run),
    ):
        raise AssertionError("not reached")
    assert run_folder.holds_run(run)


def test_other_files_of_a_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("mine")
    (tmp_path / "config.yaml").write_text("old")
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "rows.npy").write_text("of a killed start")
    with pytest.raises(RuntimeError):
        fail(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "old"
    with run_folder.made_whole(tmp_path) as draft:
        fill(draft)
    assert run_folder.holds_run(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "new"
    assert list((tmp_path / "replay").iterdir()) == []
    run_folder.discard(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]


def test_two_processes_do_not_get_one_name(tmp_path: Path) -> None:
    process = elsewhere(tmp_path / ".x.new")  # it is starting x
    assert run_folder.reserve(tmp_path / "x") == tmp_path / "x-2"
    assert run_folder.reserve(tmp_path / "x") == tmp_path / "x-3"
    with pytest.raises(BlockingIOError), run_folder.made_whole(tmp_path / "x"):
        raise AssertionError("not reached")
    process.kill()
    process.wait()
    with run_folder.made_whole(tmp_path / "x-2") as draft:
        fill(draft)
    assert run_folder.reserve(tmp_path / "x") == tmp_path / "x"
    run_folder.make(tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".x-3.new", "x", "x-2"]
