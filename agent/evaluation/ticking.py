"""A function that is called now and then while other work goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

FIRST, _LATER = 10.0, 60.0  # s between calls: at first, and after some minutes


class Ticking:
    """Within it a thread calls the function every 10 s, later every minute.

    For lines of progress where there is no terminal: none for long looks dead, and those of hours
    fill no file.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """It is not called any more once this returns."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> Ticking:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _work(self) -> None:
        began = time.monotonic()
        while not self._over.wait(min(_LATER, FIRST + (time.monotonic() - began) / 10)):
            with suppress(OSError, ValueError):  # the output was closed: others will say so
                self.function()
