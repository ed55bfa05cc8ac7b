"""Rows of the replay buffer: their layout, and checks of what is written to them.

Shapes: ... any leading shape, D observation, A action.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from worldplan.envs import ActionSpec, ObservationSpec


def row_dtype(observation: ObservationSpec, action: ActionSpec) -> np.dtype[Any]:
    """One record per row, so that a window is contiguous on disk and in the cache."""
    return np.dtype(
        [
            ("observation", *_stored(observation)),
            ("action", np.float32, (action.size,)),
            ("reward", np.float32),
            ("terminated", np.bool_),
            ("transition", np.bool_),  # the next row is of the same episode
        ],
        align=True,
    )


def _stored(observation: ObservationSpec) -> tuple[Any, ...]:
    """Type and shape of an observation in a row: of numbers beside pictures, each as it is."""
    if not observation.pictures or observation.dtype == "uint8":
        return observation.dtype, observation.shape
    runs = np.split(observation.numbers, _changes(observation.numbers))
    return (
        [
            (f"{i}", np.float32 if numbers[0] else np.uint8, (len(numbers),))
            for i, numbers in enumerate(runs)
        ],
    )


def _changes(numbers: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.flatnonzero(np.diff(numbers)) + 1


def packed(field: np.dtype[Any], observation: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A flat observation (D,) as a row stores it."""
    if field.names is None:
        return observation
    row = np.empty((), field)
    start = 0
    for name in field.names:
        size = field[name].shape[0]
        row[name] = observation[start : start + size]
        start += size
    return row


def unpacked(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Observations of rows (...), flat and contiguous (..., D): inverse of `packed`."""
    if rows.dtype.names is None:
        return np.ascontiguousarray(rows)
    parts = [rows[name] for name in rows.dtype.names]
    return np.concatenate(parts, -1, dtype=np.float32)


def checked(name: str, value: npt.ArrayLike, field: np.dtype[Any]) -> npt.NDArray[Any]:
    """Converts a value to the dtype of a field of the record.

    Raises:
        ValueError: wrong shape, or numbers that are not finite.
    """
    if field.names is not None:  # pictures beside numbers
        size = sum(field[part].shape[0] for part in field.names)
        return packed(field, checked(name, value, np.dtype((np.float32, (size,)))))
    shape = field.shape
    # Checked after the cast, because a value may overflow float32.
    with np.errstate(over="ignore"):
        array = np.asarray(value).astype(field.base)
    if array.shape != shape:
        raise ValueError(f"expected {name} of shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected a finite {name}, got {array}")
    return array
