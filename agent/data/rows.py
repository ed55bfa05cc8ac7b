"""Rows of the replay buffer: their layout, their files, and checks of what is written to them.

Shapes: D observation, A action.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from worldplan.envs import ActionSpec, ObservationSpec


def row_dtype(observation: ObservationSpec, action: ActionSpec) -> np.dtype[Any]:
    """One record per row, so that a window is contiguous on disk and in the cache."""
    return np.dtype(
        [
            ("observation", observation.dtype, observation.shape),
            ("action", np.float32, (action.size,)),
            ("reward", np.float32),
            ("terminated", np.bool_),
            ("transition", np.bool_),  # the next row is of the same episode
        ],
        align=True,
    )


def open_rows(path: Path, rows: int, dtype: np.dtype[Any], resume: bool) -> np.memmap[Any, Any]:
    """A memory-mapped .npy of `rows` rows: a new file of zeros, or with `resume` the existing one.

    Raises:
        FileNotFoundError: with `resume`, no such file.
        ValueError: with `resume`, another number of rows or another dtype.
    """
    if not resume:
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(rows,))
    if not path.exists():
        raise FileNotFoundError(f"no replay to resume from: {path} is missing")
    file = np.lib.format.open_memmap(path, mode="r+")
    if file.shape != (rows,) or file.dtype != dtype:
        raise ValueError(
            f"{path}: expected {rows} rows of {dtype}, got {len(file)} of {file.dtype}: resume "
            "with the sizes that the run was started with"
        )
    return file


def checked(name: str, value: npt.ArrayLike, field: np.dtype[Any]) -> npt.NDArray[Any]:
    """Converts a value to the dtype of a field of the record.

    Raises:
        ValueError: wrong shape, or numbers that are not finite.
    """
    shape = field.shape
    # Checked after the cast, because a value may overflow float32.
    with np.errstate(over="ignore"):
        array = np.asarray(value).astype(field.base)
    if array.shape != shape:
        raise ValueError(f"expected {name} of shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected a finite {name}, got {array}")
    return array
