"""Reads Minari data sets (https://minari.farama.org). Needs the extra `minari`.

Shapes: L decisions of an episode, D observation, A action.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldplan.agent.data.dataset import Episode


def read_minari(name: str) -> list[Episode]:
    """Reads the episodes of a data set on this disk, such as "mujoco/reacher/medium-v0".

    Observations are flattened and actions are mapped to [-1, 1], as `make_env` does. Nothing is
    clipped: `fit` refuses what is out of range.

    Raises:
        ValueError: Minari is not installed, the data set is not on this disk, its actions are not
            a bounded Box of one dimension, or its observations are not in Boxes.
    """
    try:
        import minari
    except ImportError as error:
        raise ValueError(
            f"data set minari:{name} needs: pip install 'worldplan[minari]'"
        ) from error
    try:
        data = minari.load_dataset(name)
    except FileNotFoundError as error:
        raise ValueError(
            f"no Minari data set {name!r} on this disk; fetch it with: minari download {name}"
        ) from error
    bounds = data.action_space
    if not (
        isinstance(bounds, spaces.Box) and len(bounds.shape) == 1 and bounds.is_bounded("both")
    ):
        raise ValueError(
            f"minari:{name}: expected actions in a bounded Box of one dimension, got {bounds}"
        )
    centre, half = (bounds.low + bounds.high) / 2, (bounds.high - bounds.low) / 2
    return [
        Episode(
            _flat(data.observation_space, e.observations),
            ((e.actions - centre) / half).astype(np.float32),
            np.asarray(e.rewards, np.float32),
            bool(e.terminations[-1]),
            bool(e.truncations[-1]),
        )
        for e in data.iterate_episodes()
    ]


def _flat(space: Any, values: Any) -> NDArray[np.float32]:
    """Flattened observations (L+1, D) of an episode. A Dict keeps the order of its space."""
    if isinstance(space, spaces.Dict):
        return np.concatenate([_flat(s, values[key]) for key, s in space.spaces.items()], 1)
    if isinstance(space, spaces.Tuple):
        return np.concatenate([_flat(s, v) for s, v in zip(space.spaces, values, strict=True)], 1)
    if not isinstance(space, spaces.Box):
        raise ValueError(f"expected observations in a Box, or Dict and Tuple of them, got {space}")
    return np.asarray(values, np.float32).reshape(len(values), -1)
