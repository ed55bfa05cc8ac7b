"""Reads Minari data sets (https://minari.farama.org). Needs the extra `minari`.

Shapes: L decisions of an episode, D observation, A action.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldplan.agent.data.dataset import Episode
from worldplan.envs import ActionSpec, EnvironmentSpec, ObservationSpec
from worldplan.envs.actions import check_space
from worldplan.envs.observations.parts import parts_of


def read_minari(name: str) -> list[Episode]:
    """Reads the episodes of a data set on this disk, such as "mujoco/reacher/medium-v0".

    Observations are flattened and actions are mapped to [-1, 1] or made one-hot, as `make_env`
    does. Nothing is clipped: `fit` refuses what is out of range.

    Raises:
        ValueError: Minari is not installed, the data set is not on this disk, its actions are of
            a kind that `make_env` does not support, or its observations are not.
    """
    data = _load(name)
    actions = ActionSpec.of(data.action_space)
    return [
        Episode(
            _flat(data.observation_space, e.observations),
            actions.encoded(e.actions),
            np.asarray(e.rewards, np.float32),
            bool(e.terminations[-1]),
            bool(e.truncations[-1]),
        )
        for e in data.iterate_episodes()
    ]


def minari_spec(name: str) -> EnvironmentSpec:
    """The spec of the environment in which a data set was recorded; its id is not compared.

    Raises:
        ValueError: as `read_minari`.
    """
    data = _load(name)
    flat = spaces.flatten_space(data.observation_space)
    assert isinstance(flat, spaces.Box), "_load accepts nothing else"
    with np.errstate(over="ignore"):  # as in `make_env`
        low, high = (tuple(b.astype(np.float32).tolist()) for b in (flat.low, flat.high))
    seen = ObservationSpec(flat.shape, "float32", low, high, parts_of(data.observation_space))
    return EnvironmentSpec(seen, ActionSpec.of(data.action_space))


def _load(name: str) -> Any:
    """The data set, whose actions and observations can be learned from."""
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
    check_space(f"minari:{name}", data.action_space)
    _check_seen(name, data.observation_space)
    return data


def _check_seen(name: str, space: Any) -> None:
    """Raises ValueError unless a space is of numbers or choices, or Dict and Tuple of them."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for part in space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces:
            _check_seen(name, part)
    elif not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete):
        raise ValueError(
            f"minari:{name}: expected observations in a Box, Discrete or MultiDiscrete, or Dict "
            f"and Tuple of them, got {space}"
        )


def _flat(space: Any, values: Any) -> NDArray[np.float32]:
    """Flattened observations (L+1, D) of an episode. A Dict keeps the order of its space."""
    if isinstance(space, spaces.Dict):
        return np.concatenate([_flat(s, values[key]) for key, s in space.spaces.items()], 1)
    if isinstance(space, spaces.Tuple):
        return np.concatenate([_flat(s, v) for s, v in zip(space.spaces, values, strict=True)], 1)
    if isinstance(space, spaces.Box):
        return np.asarray(values, np.float32).reshape(len(values), -1)
    one_hot: list[Any] = [spaces.flatten(space, value) for value in values]
    return np.stack(one_hot).astype(np.float32)
