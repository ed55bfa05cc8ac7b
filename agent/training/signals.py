"""Ctrl-C and SIGTERM, heard rather than obeyed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def heard(stop: Callable[[str], None]) -> Iterator[None]:
    """Within it, `stop` is told the name of either signal, and nothing else happens."""

    def note(number: int, frame: FrameType | None) -> None:
        stop(signal.Signals(number).name)

    former = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
