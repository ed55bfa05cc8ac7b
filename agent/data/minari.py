"""Reads and writes Minari data sets (https://minari.farama.org). Needs the extra `minari`.

Shapes: L decisions of an episode, D observation, A action.
"""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from worldplan.agent.data.dataset import Episode
from worldplan.envs import ActionSpec, EnvironmentSpec, ObservationSpec
from worldplan.envs.actions import check_space
from worldplan.envs.observations.parts import parts_of
from worldplan.envs.wrappers import ActionRepeat, FlatEnv

_LEAVES = spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary
_ID = re.compile(r"[-\w][-\w/]*-v\d+")


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


def check_new(name: str, env: FlatEnv) -> None:
    """Raises ValueError if a data set of an environment of `make_env` cannot be written: Minari is
    not installed, the name is none or taken, or what is observed is of another kind."""
    _minari(name)
    from minari.storage import get_dataset_path

    if _ID.fullmatch(name) is None:
        raise ValueError(
            f"expected minari:GROUP/NAME-v0 as data set, with a version, got 'minari:{name}'"
        )
    if get_dataset_path(name).exists():
        family, _, version = name.rpartition("-v")
        raise ValueError(
            f"minari:{name} is there already, and nothing is written over; expected a new one, "
            f"such as minari:{family}-v{int(version) + 1}"
        )
    if env.get_wrapper_attr("pictures"):
        raise ValueError(
            f"minari:{name}: pictures are not written as Minari's; expected a file that ends in "
            ".npz"
        )
    _check_seen(name, _seen(env).observation_space)


def write_minari(name: str, episodes: list[Episode], env: FlatEnv, actor: str) -> int:
    """Writes episodes of an environment of `make_env` as a new data set on this disk.

    Observations and actions are as in the environment's own spaces. Observations have the seven
    digits of float32. The data set tells of the environment (`env_spec`, with its wrappers), and
    of the packages that it comes from.

    Returns:
        The number of transitions.

    Raises:
        ValueError: as `check_new`.
    """
    check_new(name, env)
    minari = _minari(name)
    from minari.data_collector import EpisodeBuffer

    space, act = _seen(env).observation_space, env.get_wrapper_attr("rescale")
    buffers = [
        EpisodeBuffer(
            observations=_native(space, e.observation),
            actions=act(e.action),
            rewards=e.reward,
            terminations=_at_the_end(e.terminated, len(e.reward)),
            truncations=_at_the_end(e.truncated, len(e.reward)),
        )
        for e in episodes
    ]
    made_in = EnvironmentSpec.of(env)
    with _drafted(name), warnings.catch_warnings():
        # That nobody is named as author; what Minari says of the data is told.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"minari\.utils")
        made = minari.create_dataset_from_buffers(
            name,
            buffers,
            observation_space=space,
            action_space=_seen(env).action_space,
            algorithm_name=f"worldplan, actor {actor}",
            description=f"{len(episodes)} episodes of {made_in.id}",
            requirements=[f"{package}=={version}" for package, version in made_in.packages or ()],
        )
        made.storage.update_metadata({"env_spec": _told(env)})
    return sum(len(e.reward) for e in episodes)


@contextmanager
def _drafted(name: str) -> Iterator[None]:
    """What Minari writes meanwhile is there when the block ends without an error, and whole.

    Raises:
        OSError: there is such a data set by then.
    """
    from minari.namespace import create_namespace, list_local_namespaces
    from minari.storage import get_dataset_path

    variable, place = "MINARI_DATASETS_PATH", get_dataset_path(name)
    before = os.environ.get(variable)
    with tempfile.TemporaryDirectory(dir=get_dataset_path(), prefix=".") as draft:
        os.environ[variable] = draft
        try:
            yield
        finally:
            del os.environ[variable]
            if before is not None:
                os.environ[variable] = before
        group = name.rpartition("/")[0]
        if group and group not in list_local_namespaces():
            create_namespace(group)
        os.rename(Path(draft, name), place)


def _minari(name: str) -> Any:
    try:
        import minari
    except ImportError as error:
        raise ValueError(
            f"data set minari:{name} needs: pip install 'worldplan[minari]'"
        ) from error
    return minari


def _load(name: str) -> Any:
    """The data set, whose actions and observations can be learned from."""
    minari = _minari(name)
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
    elif not isinstance(space, _LEAVES):
        raise ValueError(
            f"minari:{name}: expected observations in a Box, Discrete, MultiDiscrete or "
            f"MultiBinary, or Dict and Tuple of them, got {space}"
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


def _native(space: Any, flat: NDArray[Any]) -> Any:
    """Inverse of `_flat`: L+1 observations as they are in the space, side by side."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        named = space.spaces if isinstance(space, spaces.Dict) else dict(enumerate(space.spaces))
        ends = np.cumsum([spaces.flatdim(part) for part in named.values()])[:-1]
        pieces = zip(named.items(), np.split(flat, ends, 1), strict=True)
        found = {key: _native(part, piece) for (key, part), piece in pieces}
        return found if isinstance(space, spaces.Dict) else tuple(found.values())
    return np.stack([np.asarray(spaces.unflatten(space, x), space.dtype) for x in flat])


def _seen(env: FlatEnv) -> Any:
    """The environment as `Flat` finds it: its observations and actions are not flat."""
    return env.get_wrapper_attr("env")


def _told(env: FlatEnv) -> str:
    """The spec of the environment as JSON, without wrappers that do nothing.

    Of one that a function makes, which JSON cannot say, it is the id and the time limit.
    """
    found = _seen(env)
    if isinstance(found, ActionRepeat) and found.repeat == 1:
        found = found.env
    try:
        return str(found.spec.to_json())
    except (TypeError, ValueError):
        limit = found.spec.max_episode_steps
        return EnvSpec(found.spec.id, None, max_episode_steps=limit).to_json()


def _at_the_end(flag: bool, length: int) -> NDArray[np.bool_]:
    found = np.zeros(length, np.bool_)
    found[-1] = flag
    return found
