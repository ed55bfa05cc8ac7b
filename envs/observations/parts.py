"""Observations of several parts: their names, and how they are joined to one vector.

Shapes: B batch, D observation.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Parts = tuple[tuple[str, int], ...]
"""Names and sizes of what an observation is made of, in order; a Box alone has no name."""
Readers = Mapping[int, Callable[[NDArray[Any]], NDArray[Any]]]
"""What makes flat the part that begins at a number, or a batch of it."""


def parts_of(space: spaces.Space[Any], name: str = "") -> Parts:
    """Names and sizes of what a space is flattened to, in order; a Box alone has no name."""
    inner: dict[str, spaces.Space[Any]] = {}
    if isinstance(space, spaces.Dict):
        inner = dict(space.spaces)
    elif isinstance(space, spaces.Tuple):
        inner = {str(i): part for i, part in enumerate(space.spaces)}
    else:
        return ((name, spaces.flatdim(space)),)
    above = f"{name}." if name else ""
    return tuple(found for key, part in inner.items() for found in parts_of(part, f"{above}{key}"))


def as_array(given: Any) -> NDArray[Any]:
    """What is given as an array. Raises ValueError if it is none of real numbers."""
    try:
        found = np.asarray(given)
        kind = str(found.dtype) if found.dtype != object else type(given).__name__
    except (RuntimeError, TypeError, ValueError):  # such as of a tensor that needs gradients
        found, kind = np.empty(0, object), type(given).__name__
    if found.dtype.kind not in "fiub":
        raise ValueError(f"expected an observation of real numbers, got {kind}")
    return found


def joined(
    parts: Parts, given: Mapping[str, Any] | tuple[Any, ...], readers: Readers
) -> NDArray[Any]:
    """One observation (D,), or a batch (B, D), of which the parts are given by name or in order.

    In a batch each part has B rows. A batch of one is told by this axis, which all parts have.

    Raises:
        ValueError: other parts, or other numbers of them.
    """
    found = {name: as_array(value) for name, value in _leaves(given)}
    if found.keys() != dict(parts).keys():
        raise ValueError(
            f"expected an observation of the parts {', '.join(map(repr, dict(parts)))}, got "
            f"{', '.join(map(repr, found)) or 'none'}"
        )
    starts = itertools.accumulate((size for _, size in parts), initial=0)
    for (name, _), start in zip(parts, starts, strict=False):
        if start in readers:
            found[name] = readers[start](found[name])
    for name, size in parts:
        if not found[name].size or found[name].size % size:
            raise ValueError(
                f"expected {size} numbers as part {name!r} of an observation, or (batch, {size}), "
                f"got {found[name].shape}"
            )
    rows = [found[name].reshape(-1, size) for name, size in parts]
    if len({len(part) for part in rows}) > 1:
        raise ValueError(f"expected parts of one batch, got {[len(part) for part in rows]} rows")
    whole = np.concatenate(rows, 1)
    batch = len(whole) > 1 or all(x.ndim > 1 and len(x) == 1 for x in found.values())
    return whole if batch else whole[0]


def _leaves(given: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """What is in nested dicts and tuples, by name as in `parts_of`."""
    for key, value in given.items() if isinstance(given, Mapping) else enumerate(given):
        if isinstance(value, Mapping | tuple):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
