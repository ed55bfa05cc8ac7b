"""Settings to search over, as they are written on the command line.

    planner.horizon=2..6                        whole numbers from 2 to 6
    learner.learning_rate=1e-4..3e-3:log        numbers, evenly in their logarithm
    planner.kind=mppi,cem                       one of these

All else is a fixed setting, `key=value`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldplan.agent.config.overrides import resolve, setting
from worldplan.agent.config.run import RunConfig

if TYPE_CHECKING:
    import optuna

# What makes the curves of trials comparable, and each trial's own.
SAME = ("steps", "seed", "eval_interval", "eval_episodes", "eval_max_steps", "run_dir", "task")
_RANGE = re.compile(r"(?P<low>[^:]*?)\.\.(?P<high>[^:]*)(:(?P<how>.*))?")
_QUOTING = set("[]{}'\"")  # a value with these is one value, whatever commas are in it


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    name: str
    low: float
    high: float
    whole: bool
    log: bool

    @property
    def ends(self) -> tuple[str, ...]:
        """Values to check before the first trial."""
        return self._text(self.low), self._text(self.high)

    def suggest(self, trial: optuna.Trial) -> str:
        """The trial's value, as on the command line."""
        if self.whole:
            return str(trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log))
        return repr(trial.suggest_float(self.name, self.low, self.high, log=self.log))

    def _text(self, value: float) -> str:
        return str(int(value)) if self.whole else repr(value)


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    name: str
    ends: tuple[str, ...]  # as on the command line

    def suggest(self, trial: optuna.Trial) -> str:
        """The trial's value, as on the command line."""
        return str(trial.suggest_categorical(self.name, self.ends))


Searched = Range | Choice


def read_space(
    base: Mapping[str, Any], words: Sequence[str]
) -> tuple[RunConfig, list[str], list[Searched]]:
    """The settings of all trials, what of them was given, and what is searched over.

    Args:
        base: what the task sets.
        words: `key=value`, `key=LOW..HIGH`, `key=LOW..HIGH:log` or `key=A,B,C`.

    Raises:
        ValueError: nothing to search over, a range that is none, an unknown setting, or a value
            that no trial could have.
    """
    fixed = [word for word in words if not _is_searched(word)]
    config = resolve(base, fixed)
    searched = [_read(word, config) for word in words if _is_searched(word)]
    if not searched:
        raise ValueError(
            "expected a setting to search over, as planner.horizon=2..6, "
            "learner.learning_rate=1e-4..3e-3:log or seed_steps=500,1000"
        )
    names = [one.name for one in searched]
    for name in names:
        if name in SAME:
            raise ValueError(f"{name} is the same in all trials; expected one value")
        if names.count(name) > 1 or any(word.startswith(f"{name}=") for word in fixed):
            raise ValueError(f"{name} is given twice; expected it once")
    if any(word.startswith("run_dir=") for word in fixed):
        raise ValueError("trials have folders of their own; expected --out, got run_dir")
    _check(base, fixed, searched)
    return config, fixed, searched


def _is_searched(word: str) -> bool:
    name, _, value = word.partition("=")
    if not name or _QUOTING & set(value):
        return False
    found = _RANGE.fullmatch(value)
    ranges = found is not None and any(_number(found[end]) is not None for end in ("low", "high"))
    return ranges or "," in value


def _read(word: str, config: RunConfig) -> Searched:
    name, _, value = word.partition("=")
    if (found := _RANGE.fullmatch(value)) is None:
        return _choice(name, value)
    low, high, how = _number(found["low"]), _number(found["high"]), found["how"]
    if low is None or high is None:
        raise ValueError(
            f"expected numbers as {name}=LOW..HIGH or {name}=LOW..HIGH:log, or choices as "
            f"{name}=A,B,C; got {value!r}"
        )
    if how not in (None, "log"):
        near = difflib.get_close_matches(how, ["log"], n=1)
        hint = "" if not near else f". Did you mean '{name}={value.removesuffix(how)}log'?"
        raise ValueError(f"expected {name}=LOW..HIGH or {name}=LOW..HIGH:log, got {value!r}{hint}")
    if not low < high:
        raise ValueError(
            f"expected LOW below HIGH, got {word!r}. Did you mean "
            f"'{name}={found['high']}..{found['low']}'?"
        )
    if how and low <= 0:
        raise ValueError(f"expected a LOW above 0 for a logarithm, got {word!r}")
    whole = all(re.fullmatch(r"[+-]?\d+", found[end]) for end in ("low", "high"))
    # 0..1 of a setting with real values is not 0 or 1.
    return Range(
        name, low, high, whole and not isinstance(setting(config, name), float), how == "log"
    )


def _choice(name: str, value: str) -> Choice:
    words = tuple(word.strip() for word in value.split(","))
    if "" in words or len(set(words)) < len(words):
        raise ValueError(f"expected different values as {name}=A,B,C, got {value!r}")
    return Choice(name, words)


def _check(base: Mapping[str, Any], fixed: Sequence[str], searched: Sequence[Searched]) -> None:
    """Raises ValueError if no trial could have one of the values.

    A value that does not go with the others' defaults may go with their smallest or largest values.
    """
    around: list[list[str]] = [[]]
    around += [[f"{one.name}={one.ends[end]}" for one in searched] for end in (0, -1)]
    for one in searched:
        for value in one.ends:
            wrong = None
            for others in around:
                try:
                    resolve(base, [*fixed, *others, f"{one.name}={value}"])
                    break
                except ValueError as error:
                    wrong = wrong or error
            else:
                assert wrong is not None
                raise wrong


def _number(text: str) -> float | None:
    try:
        return float(text) if re.fullmatch(r"[-+.\deE]+", text) else None
    except ValueError:
        return None
