"""Signals that end a run: the first one in good order, the second one at once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):  # the terminal was closed
    _ENDING.append(signal.SIGHUP)
_STOPPING = "worldplan: stopping; a second signal stops at once, without saving"
_ONE_EVENT = 0.25  # s; a closed terminal, or Ctrl-C in a script, may send several signals at once


def is_interactive() -> bool:
    """Whether somebody types the code that runs: in a notebook, or at Python's prompt."""
    return hasattr(sys, "ps1")


class Signals:
    """Within it, the first signal is noted in `received`, and the second ends the process.

    The run ends after its current step or update. Where it may wait for ever, in `interruptible`,
    the first signal raises KeyboardInterrupt. The second works in native code too. Where somebody
    types the code, the process is theirs: the second raises KeyboardInterrupt wherever it comes.
    """

    def __init__(self) -> None:
        self.received: str | None = None  # name of the first signal
        self.twice = False  # the second has come: the run may be in the middle of a step
        self._may_raise = False
        self._former: dict[int, Any] = {}
        self._write: socket.socket | None = None  # to the thread that sees the second

    def __enter__(self) -> Signals:
        self.received = None
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread gets signals
        for number in _ENDING:
            former = signal.getsignal(number)
            if number in _ENDING[:2] or former is not signal.SIG_IGN:  # nohup ignores SIGHUP
                self._former[number] = signal.signal(number, self._handle)
        if not is_interactive():
            # Python's handlers wait for native code to return; this thread does not.
            read, self._write = socket.socketpair()
            self._write.setblocking(False)
            self._former_fd = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
            threading.Thread(target=_watch, args=(read,), daemon=True).start()
        _active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._former:
            _active.remove(self)
            self._restore()
            if self._write is not None:
                self._write.close()  # ends the thread
                self._write = None

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """For code that may never end, and that may be left anywhere.

        Raises:
            KeyboardInterrupt: a signal has come, before or within.
        """
        self._may_raise = True
        try:
            if self.received:
                raise KeyboardInterrupt
            yield
        finally:
            self._may_raise = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number).name
            self._first = time.monotonic()
            if self._write is None:
                _say(_STOPPING)
            if self._may_raise:
                raise KeyboardInterrupt
        elif self._write is None and time.monotonic() - self._first > _ONE_EVENT:
            self.twice = True
            raise KeyboardInterrupt

    def _restore(self) -> None:
        if self._write is not None:
            signal.set_wakeup_fd(self._former_fd)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}


_active: list[Signals] = []


def _in_child() -> None:
    """A forked process, such as a worker of an environment, has the usual signals."""
    for signals in _active:
        signals._restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _watch(pipe: socket.socket) -> None:
    """Ends the process at the second signal. Signals arrive as bytes."""
    first: float | None = None
    while number := pipe.recv(1):
        if number[0] not in _ENDING:
            continue
        if first is None:
            first = time.monotonic()
            _say(_STOPPING)
        elif time.monotonic() - first > _ONE_EVENT:
            _say("worldplan: stopped; the last checkpoint is intact")
            os._exit(128 + number[0])
    pipe.close()


def _say(line: str) -> None:
    """Past Python's buffers, which the main thread may be writing to."""
    shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # the progress line hides the cursor
    try:
        os.write(2, f"{shown}\n{line}\n".encode())
    except OSError:  # the terminal was closed
        return
