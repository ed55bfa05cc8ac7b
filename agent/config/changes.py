"""What may still be changed of a run that is there: how long it is, and how its agent acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worldplan.agent.config.overrides import put_onto, read
from worldplan.agent.config.run import RunConfig
from worldplan.agent.config.saved import plain

# All of them leave weights, and what the values are of, as they are.
ACTING = (
    *("agent.planner", "agent.proposals", "agent.terminal_value", "agent.value_depths"),
    *("agent.shortfall", "agent.policy_turn", "compile", "plan_precision"),
)


def lengthened(
    config: RunConfig, overrides: Sequence[str] = (), settings: Mapping[str, Any] | None = None
) -> RunConfig:
    """The settings of a run that goes on: its own, with more `steps` if they are given.

    Intervals that followed from the steps stay as they are.

    Raises:
        ValueError: another setting, or fewer steps.
    """
    longer = _changed(config, overrides, settings, ("steps",), "a run that goes on")
    if longer.steps < config.steps:
        raise ValueError(
            f"expected at least the run's {config.steps:,} steps, got {longer.steps:,}"
        )
    return longer


def acting(
    config: RunConfig, overrides: Sequence[str] = (), settings: Mapping[str, Any] | None = None
) -> RunConfig:
    """The settings of an agent that has learned, and acts: another search, on the same weights.

    Raises:
        ValueError: a setting that is not in `ACTING`, or a value that is none.
    """
    return _changed(config, overrides, settings, ACTING, "an agent that has learned")


def _changed(
    config: RunConfig,
    overrides: Sequence[str],
    settings: Mapping[str, Any] | None,
    may: Sequence[str],
    whose: str,
) -> RunConfig:
    """With what is given, of which each is a setting in `may`, or in a group that is in it."""
    given = read(overrides, settings)
    if not given:
        return config
    changed = put_onto(plain(config), given)  # first: it names what was misspelt
    if others := [k for k, _ in given if not any(f"{k}.".startswith(f"{m}.") for m in may)]:
        raise ValueError(
            f"{whose} has its own settings; expected none but {', '.join(may)}, got "
            f"{', '.join(others)}; to train anew with its weights: worldplan train --from RUN "
            "KEY=VALUE"
        )
    return changed
