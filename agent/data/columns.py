"""Columns of a data set, checked row by row: a row is learned from as it is, or refused.

Shapes: N rows (transitions), D observation, A action.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldplan.envs import ActionSpec

_WIDTH = {"observation": "D", "action": "A", "next_observation": "D"}  # of those with two axes
_FLAGS = "terminated", "truncated"
NEEDED = (*_WIDTH, "episode")
COLUMNS = (*NEEDED, "reward", *_FLAGS)

Columns = dict[str, NDArray[Any]]


def checked_columns(path: Path, raw: Mapping[str, Any]) -> Columns:
    """The columns as float32 numbers or bytes, booleans and whole episode numbers.

    Raises:
        ValueError: another shape, no real numbers, a row that is not finite in float32, an action
            outside [-1, 1], or an episode number or flag that is none.
    """
    _check_shapes(path, raw)
    columns = {}
    for name, values in raw.items():
        if values.dtype.kind not in "fiub":
            raise ValueError(f"{path}: expected real numbers as {name}, got {values.dtype}")
        if name == "episode":
            whole = np.isfinite(values) & (values % 1 == 0)
            _refuse(path, name, values, ~whole, "a whole number")
            columns[name] = values
        elif name in _FLAGS:
            _refuse(path, name, values, ~np.isin(values, (0, 1)), "true or false")
            columns[name] = values.astype(np.bool_)
        elif values.dtype == np.uint8:  # such as pictures; a fourth of the memory
            columns[name] = values
        else:
            with np.errstate(over="ignore"):  # what is too large becomes infinite
                columns[name] = values.astype(np.float32)
            _refuse(path, name, values, ~np.isfinite(columns[name]), "a finite float32")
    # A file need not tell which of its numbers are choices; `check_episode` knows the task's.
    number = ActionSpec(1)
    outside = ~number.valid(columns["action"][..., None])
    _refuse(path, "action", raw["action"], outside, number.expected)
    return columns


def by_episode(path: Path, columns: Columns) -> list[NDArray[np.int64]]:
    """The rows of each episode, in order of time; episodes in the order in which they begin.

    Raises:
        ValueError: a row does not begin where the one before it in its episode ended, or comes
            after the episode's end.
    """
    _, first, which = np.unique(columns["episode"], return_index=True, return_inverse=True)
    order = np.argsort(first[which], kind="stable")
    starts = np.flatnonzero(np.diff(first[which][order], prepend=-1))
    before, after = np.delete(order, starts - 1), np.delete(order, starts)
    apart = (columns["next_observation"][before] != columns["observation"][after]).any(1)
    if apart.any():
        i = apart.argmax()
        raise ValueError(
            f"{path}: row {after[i]} does not begin where row {before[i]} ended, and both have "
            f"episode number {columns['episode'][after[i]]}; expected the rows of an episode in "
            "order of time, and a number for each episode (or for each row, if they are apart)"
        )
    for name in set(_FLAGS) & set(columns):
        over = columns[name][before]
        if over.any():
            i = over.argmax()
            raise ValueError(
                f"{path}: row {before[i]} is {name}, and row {after[i]} has the same episode "
                f"number {columns['episode'][after[i]]}; expected a number for each episode"
            )
    return np.split(order, starts[1:])


def check_episode(name: str, observation: Any, action: Any, reward: Any, spec: ActionSpec) -> None:
    """Checks an episode of observations (L+1, D), actions (L, A) and rewards (L,).

    Raises:
        ValueError: other lengths, no decision, a number that is not finite, or an action that the
            spec does not accept; the message names the episode.
    """
    if not 0 < len(action) == len(reward) == len(observation) - 1:
        raise ValueError(
            f"{name}: expected one reward for each action, and one observation more; got "
            f"{len(action)} actions, {len(reward)} rewards and {len(observation)} observations"
        )
    given = {"observation": observation, "action": action, "reward": reward}
    for what, values in given.items():
        if values.dtype.kind not in "fiub":
            raise ValueError(f"{name}: expected real numbers as {what}, got {values.dtype}")
        _refuse(name, what, values, ~np.isfinite(values), "a finite float32")
    _refuse(name, "action", action, ~spec.valid(action), spec.expected)


def _check_shapes(path: Path, raw: Mapping[str, Any]) -> None:
    shapes = {name: np.shape(values) for name, values in raw.items()}
    rows = shapes["episode"][:1]
    if {shape[:1] for shape in shapes.values()} != {rows} or not any(rows):
        raise ValueError(f"{path}: expected one row a transition in each array, got {shapes}")
    for name, shape in shapes.items():
        expected = f"(rows, {_WIDTH[name]})" if name in _WIDTH else "(rows,)"
        if len(shape) != 1 + (name in _WIDTH) or 0 in shape:
            raise ValueError(f"{path}: expected {name} of shape {expected}, got {shape}")
    if shapes["observation"] != shapes["next_observation"]:
        raise ValueError(
            f"{path}: expected next_observation of shape {shapes['observation']}, as observation "
            f"has, got {shapes['next_observation']}"
        )


def _refuse(source: Path | str, name: str, values: Any, wrong: Any, expected: str) -> None:
    """Raises ValueError for the first row that is wrong."""
    rows = wrong.reshape(len(wrong), -1).any(1)
    if rows.any():
        row = rows.argmax()
        got = values[row][wrong[row]][0] if wrong.ndim > 1 else values[row]
        raise ValueError(f"{source}, row {row}: expected {expected} as {name}, got {got}")
