"""Learning curves: CSV files that grow row by row. A resumed run writes the same file.

Each row is complete once `append` returns. Floats are written with all digits: reading gives the
same numbers, and equal runs give equal files.
"""

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from worldplan.agent.data.atomic import written_whole

CURVES = "curve.csv", "episodes.csv", "diagnostics.csv"  # those of a training run


class Curve:
    """A curve to write to `path`. The first row sets the columns; `step` must be one of them.

    Args:
        resume_step: of a resumed run. Rows up to this step stay; later ones are removed, because
            the run will write them again. None: an old file is replaced.

    Raises:
        ValueError: the old file of a resumed run is not a curve.
    """

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        self.path = path
        self.columns: list[str] | None = None
        lines = _lines(path) if resume_step is not None and path.exists() else []
        if resume_step is not None and lines:
            rows = _parse(path, lines)
            kept = [
                line
                for line, row in zip(lines[1:], rows, strict=True)
                if row["step"] <= resume_step
            ]
            lines = [lines[0], *kept] if kept else []
            self.columns = list(rows[0]) if kept else None
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".tmp")
        _write(draft, "".join(lines), "w")
        os.replace(draft, path)

    def append(self, row: Mapping[str, float]) -> None:
        """Writes a row. Raises ValueError unless it has the columns of the first, in any order."""
        if "step" not in row:
            raise ValueError(f"a curve's row needs a step, got {', '.join(row)}")
        columns = list(row) if self.columns is None else self.columns
        if row.keys() != set(columns):
            raise ValueError(
                f"{self.path} has the columns {', '.join(columns)}; a row came with "
                f"{', '.join(row)}"
            )
        values = [_text(row[name]) for name in columns]
        header = _line(columns) if self.columns is None else ""
        _write(self.path, header + _line(values), "a")
        self.columns = columns


def read_curve(path: Path) -> list[dict[str, float]]:
    """Rows of a curve, by column, without a last line that is still being written.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line cannot be read; the message gives its number.
    """
    return _parse(path, _lines(path))


def mark(path: Path) -> list[Any]:
    """Where a curve ends now, and a digest of it, for a checkpoint, as JSON."""
    content = path.read_bytes() if path.exists() else b""
    return [len(content), hashlib.blake2b(content, digest_size=32).hexdigest()]


def cut_back(path: Path, where: Any) -> bool:
    """Removes what was written after a `mark`. False if what came before it has been changed."""
    content = path.read_bytes() if path.is_file() else b""
    if not (isinstance(where, list) and where and type(where[0]) is int and where[0] >= 0):
        return False
    head = content[: where[0]]
    if [len(head), hashlib.blake2b(head, digest_size=32).hexdigest()] != where:
        return False
    if len(head) < len(content):
        with written_whole(path) as draft:
            draft.write_bytes(head)
    return True


def _text(value: float) -> str:
    # Converted, because the repr of NumPy's numbers contains their type.
    return repr(int(value) if isinstance(value, Integral) else float(value))


def _line(values: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _lines(path: Path) -> list[str]:
    """Complete lines, with their ends: a killed run may leave a part of a line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [line for line in file if line.endswith("\n")]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no curve: {error}") from error


def _parse(path: Path, lines: list[str]) -> list[dict[str, float]]:
    if not lines:
        return []
    columns, *rows = csv.reader(lines)
    if "step" not in columns:
        raise ValueError(f"{path} is no curve: it has no column step")
    parsed = []
    for number, row in enumerate(rows, start=2):
        try:
            parsed.append(dict(zip(columns, map(float, row), strict=True)))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return parsed


def _write(path: Path, text: str, mode: str) -> None:
    # Closed after each row, so that a kill loses no row.
    with path.open(mode, encoding="utf-8", newline="") as file:
        file.write(text)
