"""The folder of a run: made whole or not at all, and trained in by one process at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK = "lock"  # the operating system frees it with its process; the file itself stays
_DRAFT = ".new"
# What a run writes. Checkpoints come first: without them it is no run.
_OWN = (
    *("checkpoints", "replay", "logs", "config.yaml", "run.json"),
    *("curve.csv", "episodes.csv", "diagnostics.csv", _LOCK),
)
_held: dict[Path, FileLock] = {}  # by folder; a process may take its own lock again


def holds_run(run_dir: Path) -> bool:
    """Whether there is a run, which can be resumed."""
    return any((run_dir / "checkpoints").glob("step_*"))


def hold(run_dir: Path) -> None:
    """Keeps other processes from this folder, until `let_go` or the end of this process.

    Raises:
        BlockingIOError: another process has it.
        FileNotFoundError: there is no such folder.
    """
    if not run_dir.is_dir():
        raise FileNotFoundError(f"no run at {run_dir}")
    key = run_dir.resolve()
    if key in _held:
        return
    file = run_dir / _LOCK
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = file.read_text().strip() or "another process"
        raise BlockingIOError(
            f"{run_dir} is in use by {who}; expected a run that no process works on: wait for it, "
            "stop it, or choose another run_dir"
        ) from None
    file.write_text(f"process {os.getpid()}\n")
    _held[key] = lock


def let_go(run_dir: Path) -> None:
    """Frees the folder for other processes."""
    if lock := _held.pop(run_dir.resolve(), None):
        lock.release()


@contextmanager
def held(run_dir: Path) -> Iterator[None]:
    """Keeps other processes from this folder, as `hold`, until the block ends."""
    hold(run_dir)
    try:
        yield
    finally:
        let_go(run_dir)


def reserve(run_dir: Path) -> Path:
    """This name, or with -2, -3, ... the first that is free: no other process gets the same."""
    for i in count(1):
        name = run_dir if i == 1 else run_dir.with_name(f"{run_dir.name}-{i}")
        with suppress(BlockingIOError):
            if not name.exists() and _beside(name).resolve() not in _held:
                _beside(name).mkdir(parents=True, exist_ok=True)
                hold(_beside(name))
                if not name.exists():  # nobody finished it in the meantime
                    return name
                let_go(_beside(name))
                _remove(_beside(name))
    raise AssertionError("counting never ends")


def give_back(run_dir: Path) -> None:
    """Undoes `reserve` where no run came of it; an empty folder around it goes too."""
    let_go(_beside(run_dir))
    _remove(_beside(run_dir))
    with suppress(OSError):
        run_dir.parent.rmdir()


def make(run_dir: Path) -> None:
    """Makes the folder, if it is not there, and holds it.

    Raises:
        BlockingIOError: another process has it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    hold(run_dir)
    if _beside(run_dir).resolve() in _held:  # it was reserved
        let_go(_beside(run_dir))
        _remove(_beside(run_dir))


@contextmanager
def made_whole(run_dir: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `run_dir`, held by this process, when the block ends.

    After an error, or a kill, there is no run, and nothing in the way of the next attempt. Where
    `run_dir` exists, its other files stay.

    Raises:
        FileExistsError: it holds a run.
        BlockingIOError: another process starts one there.
    """
    inside = run_dir.exists()
    draft = run_dir / _DRAFT if inside else _beside(run_dir)
    home = run_dir if inside else draft
    home.mkdir(parents=True, exist_ok=True)
    hold(home)
    try:
        if holds_run(run_dir):
            raise FileExistsError(
                f"{run_dir} already holds a run; resume it by `worldplan train --resume "
                f"{run_dir}`, or choose another run_dir"
            )
        draft.mkdir(exist_ok=True)
        _clear(draft)
        yield draft
        if inside:
            # Checkpoints come last: they make it a run.
            for part in sorted(draft.iterdir(), key=lambda path: path.name == "checkpoints"):
                _remove(run_dir / part.name)
                os.replace(part, run_dir / part.name)
            draft.rmdir()
        else:
            os.replace(draft, run_dir)
            let_go(home)
            hold(run_dir)
    except BaseException:
        if inside:
            _remove(draft)
        let_go(home)
        if not inside:
            _remove(draft)
        raise


def discard(run_dir: Path) -> None:
    """Removes what a run wrote here, and the folder unless something else is in it."""
    let_go(run_dir)
    for name in _OWN:
        _remove(run_dir / name)
    with suppress(OSError):
        run_dir.rmdir()


def _beside(run_dir: Path) -> Path:
    return run_dir.with_name(f".{run_dir.name}{_DRAFT}")


def _clear(draft: Path) -> None:
    """Removes what a killed process left."""
    for path in draft.iterdir():
        if path.name != _LOCK:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
