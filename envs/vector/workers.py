"""Environments that step in processes of their own, where a simulator is slow.

Gymnasium's AsyncVectorEnv steps every copy at every call, starts processes that import the user's
script again, and loses exceptions with several arguments.

Shapes: B environments, D observation.
"""

import json
import pickle
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Sequence
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np

from worldplan.envs.actions import Array
from worldplan.envs.elsewhere import registration
from worldplan.envs.spec import EnvConfig
from worldplan.envs.vector.vector_env import Mask, Outcome, VectorEnv
from worldplan.envs.wrappers import EnvironmentFault

# A fresh interpreter: a fork would share threads, `multiprocessing` would run the user's script.
_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from worldplan.envs.vector.serve import serve; serve()"
)
_PATIENCE = 5.0  # s that environments may take to close


class AsyncVectorEnv(VectorEnv):
    """Environments in worker processes, each of which steps its share while the others do.

    Steps are those of `SyncVectorEnv`, bit for bit. An exception in a worker is raised here, with
    its traceback. No worker outlives this process. After an interruption, the death of a worker
    (an EnvironmentFault) or `close`, the next reset starts new workers.
    """

    def __init__(self, config: EnvConfig, num_envs: int, workers: int) -> None:
        """Raises what `make_env` raises, and ValueError for copies whose spaces differ."""
        self._config = config
        self._shares = [
            share.tolist() for share in np.array_split(np.arange(num_envs), min(workers, num_envs))
        ]
        self._workers: list[_Worker] = []
        weakref.finalize(self, _stop, self._workers)  # at the interpreter's end, too
        first, *others = self._start()
        spec = first[0]
        for other in others:
            spec.check_same(other[0], of="its first copy")
        super().__init__(num_envs, *first)

    def goals(self) -> Array | None:
        if not self.spec.sets_goals:
            return None
        found = self._ask("goals", [()] * len(self._shares))
        return np.concatenate([found[k] for k in sorted(found)])

    def close(self) -> None:
        _stop(self._workers)

    def _reset(self, seeds: list[int], mask: Mask) -> None:
        if not self._workers:
            self._start()
        words = [([seeds[i] for i in share], mask[share]) for share in self._shares]
        for k, seen in self._ask("reset", words, mask).items():
            self._observations[self._shares[k]] = seen

    def _step(self, actions: Array, active: Mask) -> Outcome:
        rewards, terminated, truncated = self._nothing()
        words = [(actions[share], active[share]) for share in self._shares]
        for k, found in self._ask("step", words, active).items():
            at = self._shares[k]
            self._observations[at], rewards[at], terminated[at], truncated[at] = found
        return rewards, terminated, truncated

    def _start(self) -> list[Any]:
        """Starts the workers; what each tells of its environments."""
        known = registration(self._config.id)
        self._workers += [_Worker(share) for share in self._shares]
        try:
            told = self._ask("make", [(self._config, len(s), known) for s in self._shares])
        except BaseException:
            self.close()
            raise
        return [told[k] for k in sorted(told)]

    def _ask(self, method: str, words: Sequence[Any], of: Mask | None = None) -> dict[int, Any]:
        """Asks the workers with environments in `of` (B,), all at once; their answers, by number.

        Raises the first error of a worker once all have answered.
        """
        if not self._workers:
            raise gym.error.ResetNeeded(f"{self._config.id}: the workers have ended; reset first")
        asked = [k for k, share in enumerate(self._shares) if of is None or of[share].any()]
        try:
            for k in asked:
                self._workers[k].send(method, words[k])
            answers = {k: self._workers[k].receive() for k in asked}
        except BaseException:  # what a worker says later is no answer to the next question
            _stop(self._workers, patience=0)
            raise
        for done, answer in answers.values():
            if not done:
                raise answer
        return {k: answer for k, (_, answer) in answers.items()}


class _Worker:
    """A process that serves the environments of some numbers."""

    def __init__(self, share: list[int]) -> None:
        self.share = share
        path = json.dumps([place for place in sys.path if isinstance(place, str)])
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._warned: dict[Any, Any] = {}  # which warnings have been shown

    def send(self, method: str, words: tuple[Any, ...]) -> None:
        assert self.process.stdin is not None
        try:
            pickle.dump(cloudpickle.dumps((method, words)), self.process.stdin)
            self.process.stdin.flush()
        except OSError as error:
            raise self._ended() from error

    def receive(self) -> tuple[bool, Any]:
        """Whether it was done, and the answer or else the error. Warns as the worker did."""
        assert self.process.stdout is not None
        try:
            done, answer, warned = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._ended() from error
        for text, category, file, line in warned:
            warnings.warn_explicit(text, category, file, line, registry=self._warned)
        return done, answer if done else pickle.loads(answer)

    def _ended(self) -> EnvironmentFault:
        """The process has died, by a signal of its simulator, say."""
        status = self.process.wait()
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return EnvironmentFault(
            f"the worker process of environments {self.share[0]} to {self.share[-1]} ended {how}; "
            "with env.workers=0 they run in this process"
        )


def _stop(workers: list[_Worker], patience: float = _PATIENCE) -> None:
    """Ends the workers, by force those that have not ended in time; none is left in the list."""
    ending, workers[:] = list(workers), []
    for worker in ending:
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.close()
        except OSError:  # it has died
            continue
    until = time.monotonic() + patience
    for worker in ending:
        try:
            worker.process.wait(max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        assert worker.process.stdout is not None
        worker.process.stdout.close()
