"""What runs in a worker process of `workers.AsyncVectorEnv`: a share of the environments.

Requests come by standard input, replies go by standard output; what environments print goes to
standard error. The process ends when its parent does, however that ends.
"""

import os
import pickle
import queue
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import cloudpickle

from worldplan.envs.elsewhere import made, packed
from worldplan.envs.make import make_env
from worldplan.envs.spec import EnvConfig, EnvironmentSpec
from worldplan.envs.vector.vector_env import SyncVectorEnv

Told = tuple[EnvironmentSpec, int | None, float | None]
"""What the parent has to know of environments: see `VectorEnv`."""
Warned = list[tuple[str, type[Warning], str, int]]
"""Warnings of a request: text, category, file and line."""
_PATIENCE = 2.0  # s that a step may still take when the parent has ended


def serve() -> None:
    """Answers requests (method, its arguments) until there are none any more."""
    requests, replies = _streams()
    for number in ("SIGINT", "SIGTERM", "SIGHUP"):  # the parent's matter: it may finish a step
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), lambda *_: None)
    warned = _recorded()
    served = _Served()
    waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    while (request := waiting.get()) is not None:
        done, answer = True, None
        try:
            method, words = cloudpickle.loads(request)
            answer = getattr(served, method)(*words)
        except BaseException as error:  # noqa: BLE001 (the parent raises it)
            done, answer = False, packed(error)
        pickle.dump((done, answer, warned), replies)
        replies.flush()
        warned.clear()
    served.close()


class _Served:
    """The environments, and what a parent may ask of them."""

    env: SyncVectorEnv | None = None

    def make(self, config: EnvConfig, count: int, known: bytes | None) -> Told:
        one = partial(make_env, config)
        self.env = SyncVectorEnv([made(one, config.id, known) for _ in range(count)], config)
        return self.env.spec, self.env.max_episode_steps, self.env.seconds_per_frame

    def reset(self, *words: Any) -> Any:
        assert self.env is not None
        return self.env.reset(*words)

    def step(self, *words: Any) -> Any:
        assert self.env is not None
        return self.env.step(*words)

    def goals(self) -> Any:
        assert self.env is not None
        return self.env.goals()

    def close(self) -> None:
        if self.env is not None:
            self.env.close()


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """Requests and replies, out of the reach of what environments read and print."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, replies


def _read(requests: BinaryIO, waiting: queue.SimpleQueue[bytes | None]) -> None:
    """Hands on requests. When the parent is gone, a step that hangs does not live on."""
    try:
        while True:
            waiting.put(pickle.load(requests))
    except (EOFError, OSError, pickle.UnpicklingError):
        waiting.put(None)
        time.sleep(_PATIENCE)
        os._exit(1)


def _recorded() -> Warned:
    """Warnings from now on; the parent's filters choose among them."""
    warned: Warned = []

    def record(message: Any, category: type[Warning], file: str, line: int, *_: Any) -> None:
        known = next(kind for kind in category.__mro__ if kind.__module__ == "builtins")
        warned.append((str(message), known, file, line))

    warnings.simplefilter("always")
    showing: Callable[..., None] = record
    warnings.showwarning = showing
    return warned
