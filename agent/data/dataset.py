"""Data sets of episodes: written to a file, and read from it.

Shapes: L decisions of an episode, D observation, A action.
"""

from __future__ import annotations

import json
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldplan.agent.data.atomic import whole
from worldplan.agent.data.columns import COLUMNS, NEEDED, by_episode, checked_columns
from worldplan.envs import EnvironmentSpec
from worldplan.envs.observations.precision import warn_if_too_fine

_ABOUT = "about"  # the array that tells of the environment
# What numpy and zipfile raise for files that are cut or changed.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, KeyError, OSError),
)


@dataclass(frozen=True)
class Episode:
    """One recorded episode. The last observation is the final one, before any reset."""

    observation: NDArray[np.float32 | np.uint8]  # (L+1, D)
    action: NDArray[np.float32]  # (L, A), numbers in [-1, 1] or one-hot choices
    reward: NDArray[np.float32]  # (L,)
    terminated: bool
    truncated: bool


@whole
def write_dataset(path: Path, episodes: list[Episode], spec: EnvironmentSpec | None = None) -> int:
    """Writes all transitions (x, a, r, x') of the episodes to a compressed .npz.

    It has one row per transition in each of the arrays observation, action, reward,
    next_observation, terminated, truncated and episode. `numpy.load(path)` reads it: nothing is
    pickled. The array `about` tells of the environment, as JSON, if its spec is given.

    Returns:
        The number of transitions.
    """
    lengths = [len(e.reward) for e in episodes]
    last = np.cumsum(lengths) - 1
    terminated, truncated = np.zeros((2, sum(lengths)), np.bool_)
    terminated[last] = [e.terminated for e in episodes]
    truncated[last] = [e.truncated for e in episodes]
    about: dict[str, Any] = {}
    if spec is not None:
        about[_ABOUT] = np.array(json.dumps({"spec": spec.to_json()}))
    np.savez_compressed(
        path,
        observation=np.concatenate([e.observation[:-1] for e in episodes]),
        action=np.concatenate([e.action for e in episodes]),
        reward=np.concatenate([e.reward for e in episodes]),
        next_observation=np.concatenate([e.observation[1:] for e in episodes]),
        terminated=terminated,
        truncated=truncated,
        episode=np.repeat(np.arange(len(episodes)), lengths),
        **about,
    )
    return sum(lengths)


def read_dataset(path: Path) -> list[Episode]:
    """Reads the episodes of a file that `write_dataset` wrote, or of one like it.

    The rows of an episode have one number, and are in order of time: each begins where the one
    before it ended. Rows of several episodes may be mixed. Without rewards in the file they are 0.
    Without `terminated` every episode is truncated. Warns of arrays that are not read,
    and of observations that float32 cannot carry.

    Raises:
        ValueError: not an .npz, a damaged one, missing arrays, or a row that cannot be learned
            from as it is; the message names the row.
        FileNotFoundError: no such file.
    """
    raw, found = _read_arrays(path, COLUMNS)
    if missing := set(NEEDED) - set(raw):
        raise ValueError(
            f"{path} has no {', '.join(sorted(missing))}; expected the arrays of "
            f"`worldplan collect`, got {', '.join(found)}"
        )
    if others := sorted(set(found) - {*COLUMNS, _ABOUT}):
        text = f"{path}: {', '.join(others)} not read; a data set has {', '.join(COLUMNS)}"
        warnings.warn(text, stacklevel=2)
    data = checked_columns(path, raw)
    seen = np.concatenate([raw["observation"], raw["next_observation"]])
    warn_if_too_fine(str(path), seen.min(0), seen.max(0), stacklevel=2)
    episodes = []
    for rows in by_episode(path, data):
        last = rows[-1:]
        terminated = bool(data["terminated"][last]) if "terminated" in data else False
        reward = data["reward"][rows] if "reward" in data else np.zeros(len(rows), np.float32)
        x = np.concatenate([data["observation"][rows], data["next_observation"][last]])
        episodes.append(Episode(x, data["action"][rows], reward, terminated, not terminated))
    return episodes


def read_spec(path: Path) -> EnvironmentSpec | None:
    """The spec of the environment in which a data set was recorded, if the file tells.

    Raises:
        ValueError: it cannot be read.
    """
    arrays, _ = _read_arrays(path, [_ABOUT])
    if _ABOUT not in arrays:
        return None
    try:
        return EnvironmentSpec.from_json(json.loads(str(arrays[_ABOUT]))["spec"], None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: its array {_ABOUT} is damaged: {error!r}") from error


def _read_arrays(path: Path, names: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Those of the named arrays that the file has, and the names of all that it has."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path} is no .npz; expected a file of `worldplan collect`")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = list(file)
            return {name: file[name] for name in names if name in found}, found
    except MemoryError as error:
        raise ValueError(f"{path} does not fit into memory: {error}") from error
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error
