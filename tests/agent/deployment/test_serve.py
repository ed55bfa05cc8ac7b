"""A client over TCP gets the agent's actions, one a beat, and is told what was wrong."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.helpers.acting_agents import agent as small_agent
from worldplan.agent.agent import Agent
from worldplan.agent.deployment.serve import serve
from worldplan.envs import ActionSpec, EnvironmentSpec


class Client:
    """Writes messages and reads what comes back."""

    def __init__(self, address: Any) -> None:
        self._socket = socket.create_connection(address, timeout=30)
        self._lines = self._socket.makefile("rb")

    def write(self, line: Any) -> None:
        self._socket.sendall((line if isinstance(line, str) else json.dumps(line)).encode() + b"\n")

    def read(self, outcome: str) -> dict[str, Any]:
        """The next answer of this outcome, of several beats maybe."""
        while True:
            found: dict[str, Any] = json.loads(self._lines.readline())
            if found["outcome"] == outcome:
                return found

    def refusal(self) -> str:
        return str(json.loads(self._lines.readline())["why"])

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Server(threading.Thread):
    """Serves an agent until its first client goes, or for some seconds."""

    def __init__(self, seconds: float | None = None) -> None:
        super().__init__()
        self.seconds = seconds
        self.agent = agent()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.said: list[str] = []

    def run(self) -> None:
        how = {"rate": 10.0, "seconds": self.seconds, "deadline_ms": 100.0}
        self.timing = serve(self.listener, self.agent, self.said.append, once=True, **how)


def agent() -> Agent:
    a = small_agent()
    bounds = ActionSpec(2, low=(-1.0, 0.0), high=(3.0, 10.0))
    a.spec = EnvironmentSpec(EnvironmentSpec.vectors(3, 2).observation, bounds)
    return a


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.join()
    server.listener.close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    client = Client(server.listener.getsockname())
    yield client
    client.close()


def test_actions_are_the_agents(client: Client) -> None:
    alone = agent()
    for i in range(3):
        observation = [0.5, -0.25 * i, 1.0]
        client.write({"observation": observation})
        answer = client.read("planned")
        assert answer["action"] == pytest.approx(alone.act(np.array(observation), scaled=True))
        assert answer["ms"] > 0


def test_reset_begins_an_episode(client: Client) -> None:
    client.write({"observation": [1.0, 0.0, 0.0]})
    first = client.read("planned")["action"]
    client.write({"observation": [1.0, 0.0, 0.0], "reset": True})
    assert client.read("planned")["action"] == first


def test_what_is_wrong_is_told_and_nothing_ends(client: Client, server: Server) -> None:
    for line, said in (
        ("no JSON", 'expected a line of JSON with "observation"'),
        ({"observations": [0, 0, 0]}, 'expected a line of JSON with "observation"'),
        ({"observation": [0, 0]}, "shape (3,)"),
        ({"observation": ["left"]}, "observation"),
    ):
        client.write(line)
        answer = client.read("failed")
        assert said in answer["why"]
        assert answer["action"] == [1.0, 5.0]
    client.write({"observation": [0, 0, 0]})
    client.read("planned")
    client.read("unseen")  # nothing new came: the beat goes on
    other = Client(server.listener.getsockname())
    assert "another client is served" in other.refusal()
    other.close()
    client.close()
    server.join()
    assert server.timing.outcomes["failed"] >= 4
    assert server.said[0].endswith("is here")
    assert "ticks at 10 Hz" in server.said[1]


def test_the_safe_action_is_the_last_line() -> None:
    server = Server(seconds=0.3)
    server.start()
    client = Client(server.listener.getsockname())
    client.write({"observation": [1.0, 0.0, 0.0]})
    assert client.read("ended")["action"] == [1.0, 5.0]
    client.close()
    server.join()
    server.listener.close()
