"""Files that are complete or absent: each is written beside its name, synced, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write to, which replaces `path` when the block ends without an error.

    A reader sees the old file or the new one, never a part of it. After an error, such as a full
    disk, the old file stands as it was. The name has the ending of `path`, and its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield draft
        sync(draft)
        os.replace(draft, path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a full disk: which file
        raise


def whole(write: Callable[Concatenate[Path, P], R]) -> Callable[Concatenate[Path, P], R]:
    """The function, which writes the file that is its first argument, as in `written_whole`."""

    @wraps(write)
    def wrapped(path: Path, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with written_whole(path) as draft:
            return write(draft, *args, **kwargs)

    return wrapped


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole."""
    with written_whole(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Writes a JSON file whole."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def sync(path: Path) -> None:
    """Flushes a file or folder to the disk; Windows cannot sync a folder, and need not."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
