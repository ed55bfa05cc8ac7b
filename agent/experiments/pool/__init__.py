"""Where many runs are made: as processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from worldplan.agent.experiments.pool.jobs import Pool
from worldplan.agent.experiments.pool.local import LocalPool
from worldplan.agent.experiments.pool.on_ray import RayPool

LOCAL = "local"


def pool_of(on: str) -> Pool:
    """The pool that is meant by `local`, `ray`, or `ray://HOST:PORT`.

    Raises:
        ValueError: by another text.
    """
    if on == LOCAL:
        return LocalPool()
    if on == "ray" or on.startswith("ray://"):
        return RayPool(None if on == "ray" else on)
    raise ValueError(f"expected local, ray or ray://HOST:PORT as --on, got {on!r}")
