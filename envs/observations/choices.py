"""Observations that are choices, as one-hot vectors.

Shapes: B batch, S of a space: () of Discrete, any of MultiDiscrete; N options, of all together.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldplan.envs.observations.pictures import leaves

Choices = tuple[tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]
"""Where choices begin in an observation, their shape, the options of each, and the first option."""


def choices_of(space: spaces.Space[Any]) -> Choices:
    """Where choices are in what a space is flattened to."""
    found: list[Any] = []
    start = 0
    for leaf in leaves(space):
        if isinstance(leaf, spaces.Discrete):
            found.append((start, (), (int(leaf.n),), (int(leaf.start),)))
        elif isinstance(leaf, spaces.MultiDiscrete):
            count, first = (tuple(u.ravel().tolist()) for u in (leaf.nvec, leaf.start))
            found.append((start, leaf.nvec.shape, count, first))
        start += spaces.flatdim(leaf)
    return tuple(found)


def one_hot(
    given: NDArray[Any], shape: Sequence[int], count: Sequence[int], first: Sequence[int]
) -> NDArray[Any]:
    """Choices (*S) or (B, *S) -> (N,) or (B, N), as Gymnasium flattens them.

    Others stay as they are: they may be flat already.

    Raises:
        ValueError: there is no such option.
    """
    axes = given.ndim - len(shape)
    if given.dtype.kind not in "iu" or axes not in (0, 1) or given.shape[axes:] != tuple(shape):
        return given
    chosen = given.reshape(*given.shape[:axes], len(count))
    number = chosen - np.asarray(first)
    if (wrong := np.argwhere((number < 0) | (number >= np.asarray(count)))).size:
        at = tuple(wrong[0].tolist())
        low, high = first[at[-1]], first[at[-1]] + count[at[-1]] - 1
        raise ValueError(
            f"expected choices from {low} to {high} in an observation, got {chosen[at]}"
        )
    found = np.zeros((*given.shape[:axes], sum(count)))
    starts = list(itertools.accumulate(count, initial=0))[:-1]
    np.put_along_axis(found, number + np.asarray(starts), 1.0, -1)
    return found
