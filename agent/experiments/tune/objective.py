"""What a search maximises, and what stops a trial before its end: both from learning curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

_LATEST = 3


def area(returns: Sequence[float]) -> float:
    """Mean return of all evaluations: the area under the learning curve, over its length."""
    return fmean(returns)


def last(returns: Sequence[float]) -> float:
    """Mean return of the last three evaluations."""
    return fmean(returns[-_LATEST:])


# Of the returns of all evaluations so far, in order.
OBJECTIVES: dict[str, Callable[[Sequence[float]], float]] = {"area": area, "last": last}
PRUNERS = ("median", "hyperband", "none")


def make_pruner(name: str, evaluations: int) -> optuna.pruners.BasePruner:
    """What decides at each evaluation whether a trial is worth going on with.

    Args:
        name: "median": below the median of the trials before it, at the same evaluation, once five
            are done; "hyperband"; "none".
        evaluations: of a whole run.
    """
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner()
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=max(1, evaluations))
    return pruners.NopPruner()
