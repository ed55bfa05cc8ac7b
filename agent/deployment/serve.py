"""An agent at a fixed rate behind a socket: a robot's own program sends observations, gets actions.

The protocol is lines of JSON over TCP. The client writes, whenever it has something new,

    {"observation": [0.1, ...]}           of an episode that begins, also "reset": true

and reads one line a beat, once there was a first observation:

    {"action": [0.3, ...], "outcome": "planned", "late": false, "ms": 4.1}

"outcome" is "unseen" where no observation came since the last beat, and "failed", with "why",
where there was no plan for it: then the action is the safe one. So it is in the last line of all,
whose outcome is "ended". One client is served at a time; others are told so, and refused.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from worldplan.agent.agent import Agent
from worldplan.agent.deployment.fixed_rate import Timing, Unreadable, safe_action, ticks

_LONGEST = 1 << 26  # bytes of a line: a picture in numbers


def serve(
    listener: socket.socket,
    agent: Agent,
    say: Callable[[str], object],
    *,
    once: bool = False,
    **how: Any,
) -> Timing:
    """Serves one client after the other; returns the timing of the last one.

    Args:
        listener: a socket that listens.
        say: is told who comes, and how it went when they leave.
        once: only the first client.
        how: rate, seconds, safe, deadline_ms, as for `ticks`.
    """
    while True:
        connection, address = listener.accept()
        say(f"{address[0]}:{address[1]} is here")
        timing = Timing(how["rate"])
        with connection, _others_refused(listener):
            _serve_one(connection, agent, timing, how)
        say(str(timing))
        if once:
            return timing


def _serve_one(connection: socket.socket, agent: Agent, timing: Timing, how: Any) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    inbox = _Inbox(connection)
    reader = threading.Thread(target=inbox.fill, daemon=True)
    reader.start()
    inbox.first.wait()

    def read() -> Any:
        message = inbox.take()
        if message is None:
            return None
        if message.get("reset"):
            agent.reset()
        return _observation(message)

    try:
        for tick in ticks(agent, read, timing, **how):
            line = {
                "action": np.asarray(tick.action).tolist(),
                "outcome": tick.outcome,
                "late": tick.late,
                "ms": round(tick.ms, 3),
            }
            if not _send(connection, line | ({"why": tick.why} if tick.why else {})):
                break
    finally:  # whatever the reason
        safe = np.asarray(safe_action(agent, how.get("safe"))).tolist()
        _send(connection, {"action": safe, "outcome": "ended"})
        with suppress(OSError):  # the client may have gone already
            connection.shutdown(socket.SHUT_RDWR)
        reader.join()


@contextmanager
def _others_refused(listener: socket.socket) -> Iterator[None]:
    """Within it, who else comes is told that a client is served, and not left waiting."""
    over = threading.Event()

    def refuse() -> None:
        while not over.is_set():
            if select.select([listener], [], [], 0.1)[0] and not over.is_set():
                other, _ = listener.accept()
                with other:
                    _send(other, {"why": "another client is served; one at a time"})

    usher = threading.Thread(target=refuse, daemon=True)
    usher.start()
    try:
        yield
    finally:
        over.set()
        usher.join()


class _Inbox:
    """The newest message of a client. What it replaces was not asked for in time."""

    def __init__(self, connection: socket.socket) -> None:
        self.first = threading.Event()
        self._lines = connection.makefile("rb")
        self._newest: dict[str, Any] | str | None = None
        self._ended = False
        self._lock = threading.Lock()

    def fill(self) -> None:
        """Reads until the client goes."""
        with suppress(OSError):  # it broke off
            while line := self._lines.readline(_LONGEST):
                self._put(_parsed(line))
        with self._lock:
            self._ended = True
        self.first.set()

    def _put(self, message: dict[str, Any] | str) -> None:
        with self._lock:
            # An episode that begins is not forgotten because something newer came.
            if isinstance(message, dict) and isinstance(self._newest, dict):
                message = {"reset": self._newest.get("reset", False), **message}
            self._newest = message
        self.first.set()

    def take(self) -> dict[str, Any] | None:
        """The newest message, once; None if there is none since.

        Raises:
            EOFError: the client has gone.
            Unreadable: what it wrote is not a message.
        """
        with self._lock:
            if self._ended:
                raise EOFError
            newest, self._newest = self._newest, None
        if isinstance(newest, str):
            raise Unreadable(newest)
        return newest


def _parsed(line: bytes) -> dict[str, Any] | str:
    """A message, or what is wrong with it."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if isinstance(message, dict) and "observation" in message:
        return message
    return 'expected a line of JSON with "observation", got ' + repr(line[:60])


def _observation(message: dict[str, Any]) -> Any:
    given = message["observation"]
    if isinstance(given, dict):
        return {name: np.asarray(part) for name, part in given.items()}
    return np.asarray(given)


def _send(connection: socket.socket, message: dict[str, Any]) -> bool:
    """Sends a line if the client takes it at once: a clock does not wait. False if it has gone."""
    try:
        if select.select([], [connection], [], 0)[1]:
            connection.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return False
    return True
