"""A Ray cluster of nodes on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.helpers.clusters.pools import search_path


@contextmanager
def cluster_of_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with one core, and a way to add nodes. RAY_ADDRESS names it."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", search_path())
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    start: Any = Cluster
    made = start(initialize_head=True, head_node_args={"num_cpus": 1})
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    ray.shutdown()
    made.shutdown()
