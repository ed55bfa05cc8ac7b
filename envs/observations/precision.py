"""Whether float32 can carry observations.

Shapes: B observations, D observation.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = 64  # that a range must have in float32


def too_fine(low: NDArray[Any], high: NDArray[Any]) -> list[int]:
    """Indices of dimensions whose range, from low (D,) to high (D,), is a few float32 steps.

    Constant ones do not count, nor do those whose range is no more than float64 rounds sums.
    """
    size = np.maximum(np.abs(low), np.abs(high))
    noise = np.maximum(1e-12 * size, 1e-13)
    with np.errstate(over="ignore", invalid="ignore"):
        steps = (high - low) / np.spacing(size.astype(np.float32))
    found: list[int] = np.flatnonzero((high - low > noise) & (steps < _STEPS)).tolist()
    return found


def warn_if_too_fine(name: str, low: NDArray[Any], high: NDArray[Any], stacklevel: int) -> None:
    """Warns, in one line, of dimensions that float32 rounds away; see `too_fine`."""
    if lost := too_fine(low, high):
        warnings.warn(
            f"{name}: observations vary too little for their size at index {lost}: float32 rounds "
            "them to a few values. Subtract their mean in the environment",
            stacklevel=stacklevel,
        )
