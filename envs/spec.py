"""Shapes and types of observations and actions, as replay, model, heads and planner read them.

Shapes: B batch, D observation, A action.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from worldplan.envs.actions import ActionSpec
from worldplan.envs.observations.choices import Choices, one_hot
from worldplan.envs.observations.parts import Parts, Readers, as_array, joined
from worldplan.envs.observations.pictures import Layout, flattened


class EnvConfig(BaseModel):
    """Which environment, and how it is observed and acted upon."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Any Gymnasium id. `module:EnvId` imports `module` first; `dm_control/...` needs shimmy."""
    action_repeat: int = Field(default=1, ge=1, le=1000)
    """Simulator frames per decision."""
    kwargs: dict[str, Any] = {}
    """Passed to `gymnasium.make`."""
    observe: Literal["observation", "state", "pixels"] = "observation"
    """What the agent observes: the environment's observation, MuJoCo's full state, or what the
    environment renders."""
    image_size: int = Field(default=64, ge=8, le=1024)
    """Height and width of pictures in observations; those of other sizes are resized."""
    frame_stack: int = Field(default=1, ge=1, le=64)
    """The last observations in one, as pictures do not show how fast things move."""
    aim: bool = False
    """Of tasks with a `desired_goal`, as gymnasium-robotics has them: the planner aims at it, and
    it is no part of the observation. Otherwise it is, and the rewards are learned."""
    workers: int = Field(default=0, ge=0, le=256)
    """Processes in which several environments step; 0 or 1: in this one. It pays where a step takes
    milliseconds. Results are the same."""
    batched: bool = False
    """Several environments are one of the task's own, which steps them as one batch (Gymnasium's
    `vector_entry_point`), as simulators on a GPU do. Tasks that have no other form need not say."""

    @field_validator("kwargs")
    @classmethod
    def _keep_a_copy(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        return copy.deepcopy(kwargs)


@dataclass(frozen=True)
class ObservationSpec:
    """Observations: flat arrays (D,), of float32, or of bytes where all are pictures.

    What is None is not known: of specs that no environment was asked for.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: tuple[float, ...] | None = None  # (D,) of the values
    high: tuple[float, ...] | None = None
    parts: Parts | None = None  # of what is flattened
    pictures: Layout | None = None  # among it
    choices: Choices | None = None

    @property
    def kind(self) -> Literal["vector", "pictures"]:
        """Selects the encoder."""
        assert len(self.shape) == 1, "make_env makes vectors only"
        return "pictures" if self.pictures else "vector"

    @property
    def numbers(self) -> NDArray[np.bool_]:
        """Which of the D numbers (D,) belong to no picture."""
        found = np.ones(self.shape, np.bool_)
        for start, channels, height, width in self.pictures or ():
            found[start : start + channels * height * width] = False
        return found

    @property
    def size(self) -> int:
        """D, numbers in one observation."""
        return int(np.prod(self.shape))

    def check(self, given: Any) -> NDArray[Any]:
        """Converts one observation (*shape) or a batch (B, *shape) to this dtype.

        It may also come as the environment gives it: a dict or a tuple, or one of batches; pictures
        in any layout (`pictures.flattened`); choices. Whole numbers are choices if they can be, and
        other numbers a flat observation.

        Raises:
            ValueError: wrong shape, no real numbers, or a number that is not finite.
        """
        if self.parts and self.parts[0][0] and isinstance(given, Mapping | tuple):
            raw = joined(self.parts, given, self._readers())
        else:
            raw = as_array(given)
            alone = len(self.parts) == 1 if self.parts else self.dtype == "uint8"
            if alone and (reader := self._readers().get(0)):
                raw = reader(raw)
        with np.errstate(over="ignore"):  # overflow gives inf, which is reported below
            x: NDArray[Any] = raw.astype(self.dtype)
        n = len(self.shape)
        if x.ndim not in (n, n + 1) or x.shape[x.ndim - n :] != self.shape:
            batch = f"({', '.join(map(str, ('batch', *self.shape)))})"
            raise ValueError(
                f"expected an observation of shape {self.shape} or {batch}, got {x.shape}"
            )
        if not np.isfinite(x).all():
            at = tuple(np.argwhere(~np.isfinite(x))[0].tolist())
            raise ValueError(
                f"expected a finite {self.dtype} observation, got {raw[at]} at index {at}"
            )
        return x

    def _readers(self) -> Readers:
        found: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
            start: functools.partial(flattened, shape=(channels, height, width))
            for start, channels, height, width in self.pictures or ()
        }
        for start, shape, count, first in self.choices or ():
            found[start] = functools.partial(one_hot, shape=shape, count=count, first=first)
        return found


@dataclass(frozen=True)
class EnvironmentSpec:
    """Observations and actions of an environment.

    `config` is the one that made the environment, if it is known. A model that simulates the
    environment needs it. `id` is the environment's own, with its version; `packages` are names and
    versions of those that it comes from. `sets_goals`: it has a `goal_observation` to be reached.
    """

    observation: ObservationSpec
    action: ActionSpec
    config: EnvConfig | None = None
    id: str | None = None
    packages: tuple[tuple[str, str], ...] | None = None
    sets_goals: bool | None = None

    @classmethod
    def vectors(
        cls, observation: int, action: int, config: EnvConfig | None = None
    ) -> EnvironmentSpec:
        """The spec of observations (D,) and actions (A,)."""
        return cls(ObservationSpec((observation,)), ActionSpec(action), config)

    @classmethod
    def of(cls, env: gym.Env[Any, Any], config: EnvConfig | None = None) -> EnvironmentSpec:
        """The spec of an environment that `make_env` made. Raises ValueError for another one."""
        if not env.has_wrapper_attr("action_spec"):
            raise ValueError(
                f"expected an environment of worldplan.make_env, which takes actions as the agent "
                f"gives them, got {env}"
            )
        seen, action = env.observation_space, env.get_wrapper_attr("action_spec")
        assert isinstance(seen, spaces.Box)
        pictures = env.get_wrapper_attr("pictures") or None
        # Of pictures their dtype tells.
        low, high = (None if pictures else _numbers(bound) for bound in (seen.low, seen.high))
        parts = env.get_wrapper_attr("parts")
        choices = env.get_wrapper_attr("choices") or None
        observation = ObservationSpec(
            seen.shape, str(seen.dtype), low, high, parts, pictures, choices
        )
        known = env.unwrapped.spec
        name = None if known is None else known.id
        goals = env.has_wrapper_attr("goal_observation")
        return cls(observation, action, config, name, _packages(env.unwrapped), goals)

    def check_same(self, now: EnvironmentSpec, of: str = "training") -> None:
        """Checks that an environment is the one that this spec is of.

        What is not known of either is not compared. Warns if the bounds of observations differ, or
        versions of the packages that the environment comes from.

        Args:
            of: what this spec was kept with.

        Raises:
            ValueError: the id, observations or actions differ; the message says how.
        """
        changed = dict(_changes(self, now))
        told = {name: changed.pop(name) for name in _TOLD if name in changed}
        for name, (then, found) in changed.items():
            raise ValueError(
                f"the environment has changed since {of}: {name} {found}, and {then} in {of}; "
                f"expected the environment of {of}"
            )
        for name, (then, found) in told.items():
            warnings.warn(
                f"the {name} of the environment are {found}, and were {then} in {of}: the agent "
                "does not know if what it sees has another meaning now",
                stacklevel=3,
            )

    def to_json(self) -> dict[str, Any]:
        """The spec without the config, which a run saves separately."""
        content = asdict(replace(self, config=None))
        return {
            key: _known(value) if isinstance(value, dict) else value
            for key, value in _known(content).items()
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], config: EnvConfig | None) -> EnvironmentSpec:
        """Inverse of `to_json`."""
        observation, action = ({k: _tuple(v) for k, v in saved[part].items()} for part in _PARTS)
        spec = ObservationSpec(**observation), ActionSpec(**action)
        packages = _tuple(saved.get("packages"))
        return cls(*spec, config, saved.get("id"), packages, saved.get("sets_goals"))


_PARTS = "observation", "action"
_TOLD = "lowest observations", "highest observations", "packages"  # and not refused


def _changes(then: Any, now: Any) -> Iterator[tuple[str, tuple[str, str]]]:
    """What is known of both and differs: its name, and both values."""
    whole = {
        "id": (then.id, now.id),
        "observations of shape": (then.observation.shape, now.observation.shape),
        "observations of type": (then.observation.dtype, now.observation.dtype),
        "actions of size": (then.action.size, now.action.size),
        "actions of kind": (then.action.kind, now.action.kind),
        "goals of its own": (then.sets_goals, now.sets_goals),
    }
    by_index = {
        "packages": (then.packages, now.packages),
        "observations of": (then.observation.parts, now.observation.parts),
        "pictures": (then.observation.pictures, now.observation.pictures),
        "choices observed": (then.observation.choices, now.observation.choices),
        "actions from": (then.action.low, now.action.low),
        "actions up to": (then.action.high, now.action.high),
        "choices of actions": (then.action.choices, now.action.choices),
        "first choices of actions": (then.action.first, now.action.first),
        "lowest observations": (then.observation.low, now.observation.low),
        "highest observations": (then.observation.high, now.observation.high),
    }
    for name, (a, b) in (whole | by_index).items():
        if a is None or b is None or repr(a) == repr(b):  # so that NaN is like NaN
            continue
        at = ""
        if name in by_index and len(a) == len(b):
            i = next(i for i in range(len(a)) if repr(a[i]) != repr(b[i]))
            a, b, at = a[i], b[i], f" at index {i}"
        yield name, (repr(a), repr(b) + at)


@functools.cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None  # of the user's own modules


def _packages(env: gym.Env[Any, Any]) -> tuple[tuple[str, str], ...]:
    """Packages that define an environment, and the physics of dm_control, with their versions."""
    parts = (env, getattr(env, "physics", None))
    names = dict.fromkeys(type(part).__module__.partition(".")[0] for part in parts)
    return tuple((name, found) for name in names if (found := _version(name)))


def _numbers(bound: NDArray[Any]) -> tuple[float, ...]:
    return tuple(bound.astype(np.float64).tolist())


def _known(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value is not None}


def _tuple(value: Any) -> Any:
    """Lists, which JSON makes of tuples, as tuples again."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
