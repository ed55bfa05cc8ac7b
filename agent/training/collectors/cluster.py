"""A connection to a Ray cluster, for as long as it is needed."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Ray's client fails in one of fifteen connections, since its proxy forks beside threads, until
# https://github.com/ray-project/ray/issues/63202 is mended.
_TRIES = 3


def require(what: str) -> Any:
    """The module `ray`. Raises ValueError if it is not installed, which `what` needs."""
    try:
        import ray
    except ImportError as error:
        raise ValueError(f"{what} needs: pip install 'worldplan[ray]'") from error
    return ray


@contextmanager
def connected(ray: Any, address: str | None = None) -> Iterator[None]:
    """Within it, the cluster can be given work. A connection that there was before stays.

    Args:
        address: of a cluster, `ray://HOST:PORT`. None: that of RAY_ADDRESS (`auto`: the one that
            runs on this machine), else a new one here. Ray itself would join whatever cluster
            runs here, such as another command's own, and die with it.

    Raises:
        ConnectionError: no cluster answers.
    """
    if ray.is_initialized():  # it is the user's own
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    former = signal.getsignal(signal.SIGTERM)
    try:
        _reach(where)
        _join(ray, where)
    except (OSError, RuntimeError, ValueError) as error:
        token = "; one that asks for a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        raise ConnectionError(f"expected a Ray cluster at {where}: {error}{token}") from error
    finally:  # Ray puts a handler of its own in its place
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former)
    try:
        yield
    finally:
        ray.shutdown()


def _join(ray: Any, address: str) -> None:
    """Connects. Raises OSError, RuntimeError or ValueError, and then Ray is as it was."""
    for left in reversed(range(_TRIES)):
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            return
        except BaseException as error:
            ray.shutdown()  # without it, what comes next would go through the client
            if not (left and isinstance(error, ConnectionAbortedError)):
                raise


def _reach(address: str) -> None:
    """Raises OSError if nothing listens at [ray://]HOST:PORT: Ray would ask for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
