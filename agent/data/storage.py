"""Rows of the replay on disk: memory-mapped files whose space is reserved before it is written.

Shapes: E streams, R rows of a stream's ring buffer. Row i of a stream is stored at i modulo R.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from worldplan.agent.data.atomic import written_whole

Ints = npt.NDArray[np.int64]
_CHUNK = 2**18  # bytes that are reserved at a time in each stream
_ROWS = 4096  # that are copied at a time


class Storage:
    """E ring buffers of R records, and how many rows were ever written to each.

    Files are sparse: they take up disk space as they are filled. `reserve` takes it beforehand,
    because writing to a mapped file on a full disk kills the process.
    """

    def __init__(
        self, directory: Path, streams: int, rows: int, record: np.dtype[Any], resume: bool
    ) -> None:
        """Makes new files of zeros, or with `resume` opens the existing ones.

        Existing ring buffers of fewer rows are enlarged, and of more rows left as they are.

        Raises:
            FileNotFoundError: with `resume`, missing files.
            ValueError: with `resume`, files of other records or streams, or that were cut short.
            OSError: the disk is full.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "rows.npy"
        # Shows a resumed run what was overwritten after its checkpoint.
        place = directory / "written.npy"
        if resume:
            written = _open(place, np.dtype(np.int64), streams)
            if len(_open(self.path, record)) < streams * rows:
                _enlarge(self.path, record, written, rows)
            records = _open(self.path, record)
            rows = len(records) // streams
        else:
            written = _new(place, streams, np.dtype(np.int64))
            written.flush()
            records = _new(self.path, streams * rows, record)
        self.rows = rows
        self._files = (records, written)
        self._start = records.offset
        self._reserved = [0] * streams  # rows whose space is taken
        self.nbytes = records.nbytes + written.nbytes  # on disk once full
        # Plain views of the same memory: np.memmap is slow to index.
        self.data, self.written = np.asarray(records), np.asarray(written)

    def reserve(self, stream: int, rows: int) -> None:
        """Takes the disk space of the first `rows` rows of a stream.

        Raises:
            OSError: the disk is full; what is stored stays as it is.
        """
        have, size = self._reserved[stream], self.data.dtype.itemsize
        if rows <= have or have == self.rows:
            return
        need = min(rows + _CHUNK // size, self.rows)
        if hasattr(os, "posix_fallocate"):
            place = self._start + (stream * self.rows + have) * size
            try:
                with self.path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), place, (need - have) * size)
            except OSError as error:
                if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):  # this file system cannot
                    self._reserved[stream] = self.rows
                    return
                raise OSError(
                    error.errno, f"no room for the replay: {error.strerror}", str(self.path)
                ) from error
        self._reserved[stream] = need

    def digest(self, first: Ints, last: Ints) -> str:
        """Digest of rows `first` to `last` (E,); of the newest row only the observation counts."""
        found = hashlib.blake2b(np.stack([first, last]).tobytes(), digest_size=32)
        for stream, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            if end <= begin:
                continue
            at = stream * self.rows
            old, new = begin % self.rows, (end - 1) % self.rows
            parts = [(old, new)] if old <= new else [(old, self.rows), (0, new)]
            for low, high in parts:
                found.update(self.data[at + low : at + high].view(np.uint8).data)
            found.update(self.data["observation"][at + new].tobytes())
        return found.hexdigest()

    def check(self, digest: str, first: Ints, last: Ints) -> None:
        """Raises ValueError unless rows `first` to `last` (E,) have this digest."""
        if self.digest(first, last) != digest:
            raise ValueError(
                f"{self.path} does not hold the rows of the checkpoint: it is damaged, or of "
                "another run or step"
            )

    def flush(self) -> None:
        """Writes all rows to disk. Only a power failure makes it necessary, not a killed run."""
        for file in self._files:
            file.flush()


def _new(path: Path, rows: int, dtype: np.dtype[Any]) -> np.memmap[Any, Any]:
    """A memory-mapped .npy of `rows` zeros."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(rows,))


def _open(path: Path, dtype: np.dtype[Any], rows: int | None = None) -> np.memmap[Any, Any]:
    """An existing .npy, of so many rows if they are given."""
    if not path.exists():
        raise FileNotFoundError(f"no replay to resume from: {path} is missing")
    try:
        file = np.lib.format.open_memmap(path, mode="r")  # r+ would lengthen what was cut short
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise ValueError(f"{path} is damaged or cut short: {error}") from error
    rows = len(file) if rows is None else rows
    if file.shape != (rows,) or file.dtype != dtype:
        raise ValueError(
            f"{path}: expected {rows} rows of {dtype}, got {len(file)} of {file.dtype}: resume "
            "with the sizes that the run was started with"
        )
    return np.lib.format.open_memmap(path, mode="r+")


def _enlarge(path: Path, record: np.dtype[Any], written: Ints, rows: int) -> None:
    """Ring buffers of `rows` rows in place of smaller ones, with all that is in them."""
    with written_whole(path) as draft:
        start = _new(draft, len(written) * rows, record).offset
        with draft.open("r+b") as file:  # not mapped: a full disk is an error here
            _copy(file, start, _open(path, record), written, rows)


def _copy(file: BinaryIO, start: int, records: Any, written: Ints, rows: int) -> None:
    """Writes what smaller ring buffers hold to where it is in those of `rows` rows."""
    before, size = len(records) // len(written), records.dtype.itemsize
    # As bytes: a digest is also of those between fields.
    content = np.asarray(records).view(np.uint8).reshape(len(records), size)
    for stream, end in enumerate(written.tolist()):
        at = max(0, end - before)
        while at < end:
            stop = min(end, at + _ROWS, (at // rows + 1) * rows)
            file.seek(start + (stream * rows + at % rows) * size)
            file.write(content[stream * before + np.arange(at, stop) % before].tobytes())
            at = stop
