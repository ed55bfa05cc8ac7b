"""Rows of the replay buffer: their layout, and checks of what is written to them.

Shapes: D observation, A action.
"""

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
