"""Reads LeRobot data sets (https://github.com/huggingface/lerobot). Needs the extra `lerobot`.

A row is a frame: what was seen, and the action that followed. What the last action of an episode
led to was not recorded: F frames are F - 1 decisions, and every episode counts as cut off there.

Shapes: N rows, F frames of an episode, D observation, A action.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldplan.agent.data.dataset import Episode
from worldplan.envs import ActionSpec

_VERSIONS = "v2.", "v3."
_NEEDED = "observation.state", "action", "episode_index", "frame_index"
_MORE = "observation.environment_state", "next.reward", "next.done"


def read_lerobot(folder: Path, actions: ActionSpec) -> list[Episode]:
    """Reads the episodes of a data set of version 2 or 3 in a folder.

    An observation is `observation.state`, then `observation.environment_state` if there is one.
    Actions are those of an environment with this spec, whose bounds are mapped to [-1, 1]; nothing
    is clipped. Without `next.reward` rewards are 0. No transition leads over an episode's end, a
    frame of which `next.done` says so, or a frame that is missing. Warns of observations that are
    not read, such as pictures.

    Raises:
        ValueError: PyArrow is not installed; no such data set, one of another version, a damaged
            one or a part of one; or actions that the environment does not take.
    """
    info = _info(folder)
    seen = [name for name in info["features"] if name.startswith("observation")]
    if left := sorted({*seen} - {*_NEEDED, *_MORE}):
        text = f"{folder}: {', '.join(left)} not read, as no pictures are; expected numbers in "
        warnings.warn(text + f"{_NEEDED[0]} and {_MORE[0]}", stacklevel=2)
    data = _columns(folder, [*_NEEDED, *(name for name in _MORE if name in info["features"])])
    rows = len(data["action"])
    if rows != info.get("total_frames", rows):
        raise ValueError(
            f"{folder}: {rows:,} of {info['total_frames']} frames are here; expected all of them"
        )
    episode, frame = data["episode_index"][:, 0], data["frame_index"][:, 0]
    x = np.concatenate([data[name] for name in (_NEEDED[0], _MORE[0]) if name in data], 1)
    a = _encoded(folder, data["action"], actions)
    nothing = np.zeros((rows, 1), np.float32)
    reward, done = (data.get(name, nothing)[:, 0] for name in ("next.reward", "next.done"))
    order = np.lexsort((frame, episode))
    apart, later = np.diff(episode[order]) != 0, np.diff(frame[order])
    if (twice := ~apart & (later == 0)).any():
        i = order[twice.argmax()]
        raise ValueError(f"{folder}: frame {frame[i]} of episode {episode[i]} is there twice")
    ends = np.flatnonzero(apart | (later != 1) | (done[order][:-1] != 0)) + 1
    return [
        Episode(
            x[piece].astype(np.float32), a[piece[:-1]], reward[piece[:-1]].astype(np.float32),
            terminated=False, truncated=True,
        )
        for piece in np.split(order, ends)
        if len(piece) > 1
    ]  # fmt: skip


def _info(folder: Path) -> dict[str, Any]:
    file = folder / "meta" / "info.json"
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{folder} is no LeRobot data set: there is no meta/info.json") from error
    except ValueError as error:  # of JSON and of UTF-8
        raise ValueError(f"{file} is damaged: {error}") from error
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not str(version).startswith(_VERSIONS):
        raise ValueError(f"{folder}: expected a LeRobot data set of version 2 or 3, got {version}")
    if not isinstance(info.get("features"), dict):
        raise ValueError(f"{file} is damaged: expected features")
    return dict(info)


def _columns(folder: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    """Numbers (N, ...) of each name, from all files in order."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            f"data set lerobot:{folder} needs: pip install 'worldplan[lerobot]'"
        ) from error
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for file in sorted(folder.glob("data/*/*.parquet")):
        try:
            found = parquet.read_schema(file).names
            if missing := [name for name in names if name not in found]:
                raise ValueError(
                    f"{file} has no {', '.join(missing)}; expected the columns {', '.join(names)}, "
                    f"got {', '.join(found)}"
                )
            table = parquet.read_table(file, columns=names)
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
        for name in names:
            parts[name] += [_numbers(f"{file}, {name}", piece) for piece in table[name].chunks]
    for name, pieces in parts.items():
        if len({piece.shape[1] for piece in pieces}) > 1:
            raise ValueError(f"{folder}: expected {name} of one length in all files")
    if not parts["action"]:
        raise ValueError(f"{folder}: expected frames in data/chunk-000/*.parquet, got none")
    return {name: np.concatenate(pieces) for name, pieces in parts.items()}


def _numbers(name: str, column: Any) -> NDArray[Any]:
    """(N, K): a number or a list, of lists perhaps, in each of N rows."""
    from pyarrow import compute, types

    rows = len(column)
    column = getattr(column, "storage", column)  # of Hugging Face's arrays
    kinds = types.is_list, types.is_large_list, types.is_fixed_size_list
    while any(kind(column.type) for kind in kinds):
        if column.null_count or len(compute.list_value_length(column).unique()) > 1:
            raise ValueError(f"{name}: expected as many numbers in each frame")
        column = column.flatten()
    numbers: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    if numbers.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected numbers, got {column.type}")
    return numbers.reshape(rows, -1)


def _encoded(folder: Path, native: NDArray[Any], actions: ActionSpec) -> NDArray[np.float32]:
    """Actions (N, A) as the agent gives them."""
    width = actions.size if actions.choices is None else len(actions.choices)
    if native.shape[1] != width:
        raise ValueError(
            f"{folder}: the task's actions are {width} numbers, and the data set's are "
            f"{native.shape[1]}"
        )
    found = actions.encoded(native)
    wrong = ~actions.valid(found)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{folder}, row {row}: expected actions within the task's bounds, "
            f"{list(actions.low or ())} to {list(actions.high or ())}, got {native[row].tolist()}"
        )
    return found
