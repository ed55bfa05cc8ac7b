"""Connecting to a Ray cluster, with a stand-in for Ray."""

from typing import Any

import pytest

from worldplan.agent.training.collectors.cluster import connected

ADDRESS = "ray://elsewhere"  # without a port nothing is asked beforehand


class FailingRay:
    """Its first connections fail."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.open, self.asked = list(errors), False, 0

    def is_initialized(self) -> bool:
        return self.open

    def init(self, address: str, **how: Any) -> None:
        self.asked += 1
        self.open = True  # Ray says so even where it failed
        if self.errors:
            raise self.errors.pop(0)

    def shutdown(self) -> None:
        self.open = False


def test_a_proxy_that_dies_as_it_begins_is_asked_again() -> None:
    aborted = ConnectionAbortedError("Initialization failure from server")
    ray = FailingRay(aborted, aborted)
    with connected(ray, ADDRESS):
        assert ray.open
    assert ray.asked == 3
    assert not ray.open


@pytest.mark.parametrize(
    ("error", "asked"),
    [(ConnectionAbortedError("it dies"), 3), (ConnectionError("nobody"), 1), (ValueError("no"), 1)],
)
def test_a_connection_that_fails_is_told_and_leaves_nothing(error: Exception, asked: int) -> None:
    ray = FailingRay(*[error] * 5)
    told = pytest.raises(ConnectionError, match=f"a Ray cluster at {ADDRESS}: {error}")
    with told, connected(ray, ADDRESS):
        pass
    assert ray.asked == asked
    assert not ray.open
