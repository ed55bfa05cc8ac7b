"""Data sets of episodes: written to a file, and read from it.

Shapes: L decisions of an episode, D observation, A action.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Episode:
    """One recorded episode. The last observation is the final one, before any reset."""

    observation: NDArray[np.float32]  # (L+1, D)
    action: NDArray[np.float32]  # (L, A) in [-1, 1]
    reward: NDArray[np.float32]  # (L,)
    terminated: bool
    truncated: bool


def write_dataset(path: Path, episodes: list[Episode]) -> int:
    """Writes all transitions (x, a, r, x') of the episodes to a compressed .npz.

    It has one row per transition in each of the arrays observation, action, reward,
    next_observation, terminated, truncated and episode. `numpy.load(path)` reads it: nothing is
    pickled.

    Returns:
        The number of transitions.
    """
    lengths = [len(e.reward) for e in episodes]
    last = np.cumsum(lengths) - 1
    terminated, truncated = np.zeros((2, sum(lengths)), np.bool_)
    terminated[last] = [e.terminated for e in episodes]
    truncated[last] = [e.truncated for e in episodes]
    np.savez_compressed(
        path,
        observation=np.concatenate([e.observation[:-1] for e in episodes]),
        action=np.concatenate([e.action for e in episodes]),
        reward=np.concatenate([e.reward for e in episodes]),
        next_observation=np.concatenate([e.observation[1:] for e in episodes]),
        terminated=terminated,
        truncated=truncated,
        episode=np.repeat(np.arange(len(episodes)), lengths),
    )
    return sum(lengths)


def read_dataset(path: Path) -> list[Episode]:
    """Reads the episodes of a file that `write_dataset` wrote.

    Without rewards in the file they are 0. Without `terminated` every episode is truncated.

    Raises:
        ValueError: not an .npz, missing arrays, or arrays of different lengths.
        FileNotFoundError: no such file.
    """
    if not zipfile.is_zipfile(path) and path.exists():
        raise ValueError(f"{path} is no .npz; expected a file of `worldplan collect`")
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"observation", "action", "next_observation", "episode"} - set(arrays)
        if missing:
            raise ValueError(
                f"{path} has no {', '.join(sorted(missing))}; expected the arrays of "
                f"`worldplan collect`, got {', '.join(arrays)}"
            )
        data = {name: arrays[name] for name in arrays}
    number = data["episode"]
    rows = {name: len(values) for name, values in data.items()}
    if set(rows.values()) != {len(number)} or not len(number):
        raise ValueError(f"{path}: expected one row a transition in each array, got {rows}")
    starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
    episodes = []
    for begin, end in zip(starts, [*starts[1:], len(number)], strict=True):
        rows_of, last = slice(begin, end), end - 1
        terminated = bool(data["terminated"][last]) if "terminated" in data else False
        episodes.append(
            Episode(
                np.concatenate([data["observation"][rows_of], data["next_observation"][last:end]]),
                data["action"][rows_of],
                data["reward"][rows_of] if "reward" in data else np.zeros(end - begin, np.float32),
                terminated,
                not terminated,
            )
        )
    return episodes
