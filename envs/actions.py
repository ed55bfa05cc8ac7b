"""Actions as the agent gives them, and as an environment takes them.

Shapes: ... any leading shape, A action, K choices, L decisions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Array = NDArray[np.float32]
Kind = Literal["box", "discrete", "multi_discrete", "multi_binary"]

_LARGEST = 1e6  # a larger bound says that there is none
_ROUNDING = 1e-6  # of float32, by which numbers may be out of range


@dataclass(frozen=True)
class ActionSpec:
    """Actions (A,). `box` is a vector of numbers in [-1, 1], mapped to the environment's bounds.

    The other kinds are K choices, each a one-hot vector, side by side: one choice (`discrete`),
    several (`multi_discrete`), or several of yes and no (`multi_binary`).
    """

    size: int  # A
    kind: Kind = "box"
    low: tuple[float, ...] | None = None  # (A,) of the environment, if they are known
    high: tuple[float, ...] | None = None
    choices: tuple[int, ...] | None = None  # (K,) among how many each is; None: numbers
    first: tuple[int, ...] | None = None  # (K,) the environment's number of the first

    @classmethod
    def of(cls, space: spaces.Space[Any]) -> ActionSpec:
        """The spec of an environment's own action space, which `check_space` accepts."""
        match space:
            case spaces.Discrete():
                return cls._of_choices("discrete", [space.n], [space.start])
            case spaces.MultiDiscrete():
                return cls._of_choices("multi_discrete", space.nvec, space.start)
            case spaces.MultiBinary():
                yes_or_no = np.full(space.shape, 2)
                return cls._of_choices("multi_binary", yes_or_no, np.zeros_like(yes_or_no))
        assert isinstance(space, spaces.Box), "checked before"
        low, high = (tuple(b.astype(np.float64).tolist()) for b in (space.low, space.high))
        return cls(space.shape[0], "box", low, high)

    @classmethod
    def _of_choices(cls, kind: Kind, choices: Any, first: Any) -> ActionSpec:
        n, k = (tuple(int(u) for u in given) for given in (choices, first))
        return cls(sum(n), kind, choices=n, first=k)

    def valid(self, action: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether actions (..., A) are in [-1, 1], or one-hot: (...) bool."""
        with np.errstate(invalid="ignore"):  # NaN is neither
            if self.choices is None:
                return np.asarray((np.abs(action) <= 1 + _ROUNDING).all(-1))
            binary = ((action == 0) | (action == 1)).all(-1)
            return np.asarray(binary & (np.add.reduceat(action, self.starts, -1) == 1).all(-1))

    @property
    def expected(self) -> str:
        """What a valid action is, for messages."""
        if self.choices is None:
            return "numbers in [-1, 1]"
        return f"one-hot choices among {' and '.join(map(str, self.choices))}"

    def given(self, action: Array, scaled: bool | None) -> Any:
        """Actions as they are, or `scaled`; None: as they are, with a warning where the
        environment's own are others."""
        if scaled:
            return self.scaled(action)
        bounds = {*(self.low or ()), *(self.high or ())}
        if scaled is None and (self.choices or bounds - {-1.0, 1.0}):
            own = f"bounds are {min(bounds):g} to {max(bounds):g}" if bounds else "are numbers"
            warnings.warn(
                f"actions are {self.expected}, and the environment's own {own}; expected the "
                "environment to be one of worldplan.make_env, which maps them, or act(observation, "
                "scaled=True). scaled=False says that it is",
                stacklevel=3,
            )
        return action

    def scaled(self, action: Array) -> Any:
        """Actions (..., A) as the environment takes them.

        Numbers are mapped to its bounds. Choices are int64 (...) or (..., K), int8 if yes or no.

        Raises:
            ValueError: the bounds are not known.
        """
        if self.choices is not None:
            assert self.first is not None
            hot = np.nonzero(action)[-1].reshape(*action.shape[:-1], -1)
            found = hot - self.starts + self.first
            if self.kind == "multi_binary":
                return found.astype(np.int8)
            # [()] makes a scalar of a single one.
            return found[..., 0][()] if self.kind == "discrete" else found
        if self.low is None or self.high is None:
            raise ValueError(
                "the bounds of the environment's actions are not known; expected the agent of a "
                "run that was trained since they are saved"
            )
        low, high = (np.asarray(bound, np.float32) for bound in (self.low, self.high))
        return np.clip(low + (high - low) * (action + 1) / 2, low, high)

    def encoded(self, native: NDArray[Any]) -> Array:
        """Inverse of `scaled`: (L, A) of L actions as the environment takes them.

        Numbers out of its bounds are left out of range.

        Raises:
            ValueError: a choice that there is not; the message names its row.
        """
        if self.choices is None:
            assert self.low is not None
            assert self.high is not None
            low, high = np.asarray(self.low), np.asarray(self.high)
            numbers: Array = ((native - (low + high) / 2) / ((high - low) / 2)).astype(np.float32)
            return numbers
        chosen = np.asarray(native).reshape(len(native), -1) - self.first
        wrong = ((chosen < 0) | (chosen >= self.choices)).any(1)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"row {row}: expected choices among {self.choices} from {self.first}, got "
                f"{native[row]}"
            )
        found = np.zeros((len(chosen), self.size), np.float32)
        np.put_along_axis(found, chosen.astype(np.int64) + self.starts, 1, 1)
        return found

    @property
    def starts(self) -> NDArray[np.int64]:
        """(K,) where the choices begin in an action."""
        return np.cumsum((0, *(self.choices or ())[:-1]))


class ActionBox(spaces.Box):
    """The actions (A,) of a spec as Gymnasium knows them. Of choices, those that are one-hot."""

    def __init__(self, spec: ActionSpec) -> None:
        super().__init__(-1.0 if spec.choices is None else 0.0, 1.0, (spec.size,), np.float32)
        self._spec = spec

    def sample(self, mask: Any = None, probability: Any = None) -> Array:
        if self._spec.choices is None:
            return super().sample(mask, probability).astype(np.float32)
        found = np.zeros(self._spec.size, np.float32)
        found[self.np_random.integers(self._spec.choices) + self._spec.starts] = 1
        return found

    def contains(self, x: Any) -> bool:
        return super().contains(x) and bool(self._spec.valid(np.asarray(x)))


class Rescale:
    """Maps actions (..., A) in [-1, 1] to the bounds of an environment's action space."""

    def __init__(self, inner: spaces.Box) -> None:
        self._inner = inner
        low, high = inner.low.astype(np.float64), inner.high.astype(np.float64)
        self._centre, self._half = (low + high) / 2, (high - low) / 2

    def __call__(self, action: Array) -> NDArray[Any]:
        """Rescaled actions (..., A), clipped because rounding could exceed the bounds."""
        rescaled = (self._centre + self._half * action).astype(self._inner.dtype)
        return np.clip(rescaled, self._inner.low, self._inner.high)


def decoder(space: spaces.Space[Any]) -> Callable[[Array], Any]:
    """Maps actions (..., A) to what an environment with this action space takes."""
    if isinstance(space, spaces.Box):
        return Rescale(space)
    scaled = ActionSpec.of(space).scaled
    return lambda action: scaled(action).astype(space.dtype)


def check_space(name: str, space: spaces.Space[Any]) -> None:
    """Checks an action space, that of the environment called `name`.

    Raises:
        ValueError: it is not supported; the message says what to do.
    """
    is_vector = space.shape is not None and len(space.shape) == 1
    is_float = isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)
    several = isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary)
    if not (isinstance(space, spaces.Discrete) or (is_vector and (is_float or several))):
        raise ValueError(
            f"{name!r}: expected as action space a one-dimensional float Box, Discrete, or a "
            f"one-dimensional MultiDiscrete or MultiBinary, got {space}; "
            "gymnasium.wrappers.TransformAction makes one of another"
        )
    if not isinstance(space, spaces.Box):
        return
    if not (np.abs([space.low, space.high]) <= _LARGEST).all():  # false for NaN as well
        raise ValueError(
            f"{name!r}: expected actions with finite bounds within ±{_LARGEST:g}, which are "
            f"mapped to [-1, 1], got {space}. Bound them with gymnasium.wrappers.RescaleAction or "
            "in the environment"
        )
