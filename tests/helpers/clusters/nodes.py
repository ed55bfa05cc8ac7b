"""A Ray cluster of nodes on this machine."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.helpers.clusters.pools import search_path, until


@contextmanager
def cluster_of_one(monkeypatch: pytest.MonkeyPatch, client: bool = False) -> Iterator[Any]:
    """A head with one core, and a way to add nodes. RAY_ADDRESS names it; by Ray's client if so."""
    ray: Any = pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", search_path())
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")  # a dead node is found in seconds
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    start: Any = Cluster
    port = {"ray_client_server_port": _free()} if client else {}
    made = start(initialize_head=True, head_node_args={"num_cpus": 1, **port})
    host = made.address.rpartition(":")[0]
    address = f"ray://{host}:{port['ray_client_server_port']}" if client else made.address
    monkeypatch.setenv("RAY_ADDRESS", address)
    if client:
        until(lambda: _listens(host, port["ray_client_server_port"]))
    yield made
    ray.shutdown()
    made.shutdown()


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _free() -> int:
    """A port that nobody uses."""
    with socket.create_server(("", 0)) as listener:
        return int(listener.getsockname()[1])
