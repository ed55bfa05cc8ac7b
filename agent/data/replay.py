"""Replay buffer on disk, sampled as windows of consecutive transitions.

Shapes: E environments (streams), R rows of a stream's ring buffer, D observation, A action,
S windows in a batch, H transitions from a window's start on.

An episode of L transitions takes L + 1 consecutive rows of its stream: row j holds x(j), a(j), r(j)
and terminated(j), and the last row holds x(L) only. So each observation is stored once, including
the final one. A row without a transition marks the end of an episode; the newest row of an ongoing
episode has no transition yet.

Rows are numbered from the start of the run; row i is stored at i modulo R.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from worldplan.agent.data.batch import Batch
from worldplan.agent.data.rows import checked, row_dtype, unpacked
from worldplan.agent.data.storage import Ints, Storage
from worldplan.envs import EnvironmentSpec


class ReplayConfig(BaseModel):
    """Size of the replay buffer, and how it is sampled.

    With a `recency` of 2 the newest a of N transitions make up sqrt(a / N) of a batch, so that what
    has just gone wrong is soon learned from; with 1 all are sampled alike. It counts once an
    episode has terminated: where none does, nothing goes wrong, and HalfCheetah learns slower.
    (Wang & Ross 2019, https://arxiv.org/abs/1906.04009, do so too, by another rule.)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    capacity: int | None = Field(
        default=None,
        ge=2,
        le=2_000_000_000,
        description="rows, one per transition and one more per episode; default: as the run needs",
    )
    recency: float = Field(
        default=1.0,
        ge=1,
        le=100,
        description="1: all are sampled alike; more: recent ones more often, if episodes terminate",
    )


class Replay:
    """E ring buffers of rows in memory-mapped files.

    Sampling uses the newest ceil(capacity / E) rows of each stream. Each stream keeps `slack` more
    rows: a run that is killed at most `slack` rows after a checkpoint still has all rows of the
    checkpoint.
    """

    def __init__(
        self,
        directory: Path,
        spec: EnvironmentSpec,
        num_envs: int,
        capacity: int,
        slack: int,
        *,
        recency: float = 1.0,
        resume: bool = False,
    ) -> None:
        """Makes new files in `directory`, or opens existing ones.

        Args:
            capacity: Rows of all streams together; an episode takes one more than its transitions.
            resume: Opens the files of an earlier run, for `restore`, instead of replacing them.
                They are enlarged to a larger capacity.

        Raises:
            ValueError: impossible sizes, or files of other spaces or streams, or cut short.
            FileNotFoundError, OSError: with `resume`, missing files, or a full disk.
        """
        if num_envs < 1 or slack < 0:
            raise ValueError(f"expected num_envs >= 1 and slack >= 0, got {num_envs=}, {slack=}")
        if capacity < 2 * num_envs:
            raise ValueError(
                f"expected a replay capacity of at least 2 rows for each of {num_envs} streams, "
                f"got {capacity}; nearest: {2 * num_envs}"
            )
        self.directory, self.num_envs, self._recency = directory, num_envs, recency
        self._keep = -(-capacity // num_envs)
        record = row_dtype(spec.observation, spec.action)
        self._storage = Storage(directory, num_envs, self._keep + slack, record, resume)
        self._rows = self._storage.rows
        self.nbytes, self.flush = self._storage.nbytes, self._storage.flush
        self._data, self._written = self._storage.data, self._storage.written
        self._transition = self._data["transition"]

        self._head = np.zeros(num_envs, np.int64)  # number of the next row
        self._open = [False] * num_envs  # whether an episode is ongoing
        self._any_terminated = False
        self._count = np.zeros(num_envs, np.int64)  # transitions that can be sampled

    @property
    def transitions(self) -> int:
        """Number of transitions that can be sampled."""
        return int(self._count.sum())

    def reserve(self, rows: int) -> None:
        """Takes the disk space of that many more rows in each stream, before they are stored.

        Raises OSError if the disk is full.
        """
        for env, head in enumerate(self._head.tolist()):
            self._storage.reserve(env, head + rows)

    def begin(self, env: int, observation: npt.ArrayLike) -> None:
        """Starts an episode of stream `env` at x(0) (D,).

        An ongoing episode ends at its newest row, as if truncated. So a resumed run, whose
        environments are reset, needs nothing else.

        Raises:
            ValueError: no such stream, wrong shape, or numbers that are not finite.
            OSError: the disk is full.
        """
        self._check_env(env)
        x = checked("observation", observation, self._data.dtype["observation"])
        self._append(env, x)
        self._open[env] = True

    def add(
        self,
        env: int,
        action: npt.ArrayLike,
        reward: float,
        terminated: bool,
        truncated: bool,
        next_observation: npt.ArrayLike,
    ) -> None:
        """Stores the transition of stream `env` from its newest observation.

        Args:
            action: (A,).
            next_observation: (D,) as the environment returned it; at the end of an episode the
                final observation, not that of the next reset.

        Raises:
            ValueError: no ongoing episode, wrong shape, or numbers that are not finite.
            OSError: the disk is full.
        """
        self._check_env(env)
        if not self._open[env]:
            raise ValueError(f"stream {env} has no ongoing episode: call begin first")
        x = checked("next_observation", next_observation, self._data.dtype["observation"])
        a = checked("action", action, self._data.dtype["action"])
        r = checked("reward", reward, self._data.dtype["reward"])
        self._storage.reserve(env, int(self._head[env]) + 1)
        at = self._place(env, int(self._head[env]) - 1)
        row = self._data[at]
        row["action"], row["reward"], row["terminated"] = a, r, terminated
        self._append(env, x)
        self._transition[at] = True
        self._any_terminated |= bool(terminated)
        self._count[env] += 1
        self._open[env] = not (terminated or truncated)

    def sample(self, rng: np.random.Generator, batch: int, before: int, after: int) -> Batch:
        """Samples windows around transitions, of all stored ones; see `ReplayConfig.recency`.

        Args:
            batch: S, number of windows.
            before: Transitions before the sampled one.
            after: H, transitions from the sampled one on.

        Raises:
            ValueError: nothing is stored, or impossible sizes.
        """
        if batch < 1 or before < 0 or after < 1:
            raise ValueError(
                f"expected batch and after of at least 1, before of at least 0, got {batch=}, "
                f"{before=}, {after=}"
            )
        if not self._count.any():
            raise ValueError("the replay is empty: add a transition first")
        oldest = self._oldest()
        env, row = self._starts(rng, batch, oldest)
        base, row = (env * self._rows)[:, None], row[:, None]

        window = row + np.arange(-before, after)
        valid = self._transition[base + window % self._rows]
        # Valid are the transitions that are connected with the start without a gap.
        np.logical_and.accumulate(valid[:, before:], axis=1, out=valid[:, before:])
        last = row + valid[:, before:].sum(1, keepdims=True)
        first = row
        if before:
            past = valid[:, before - 1 :: -1]
            past &= window[:, before - 1 :: -1] >= oldest[env][:, None]
            np.logical_and.accumulate(past, axis=1, out=past)
            first = row - past.sum(1, keepdims=True)

        window = np.minimum(np.maximum(row + np.arange(-before, after + 1), first), last)
        rows = self._data.take(base + window % self._rows)
        observation = unpacked(rows["observation"])
        action, reward, terminated = (
            np.array(rows[name][:, :-1], np.float32) for name in ("action", "reward", "terminated")
        )
        beyond = ~valid
        action[beyond], reward[beyond], terminated[beyond] = 0, 0, 0
        return Batch(*map(torch.from_numpy, (observation, action, reward, terminated, valid)))

    def state(self) -> dict[str, Any]:
        """Positions of the streams and a digest of their rows, for a checkpoint, as JSON."""
        first = np.maximum(self._head - self._keep, 0)
        found = {"head": self._head.tolist(), "open": list(self._open), "first": first.tolist()}
        digest = self._storage.digest(first, self._head)
        return {**found, "digest": digest, "any_terminated": self._any_terminated}

    def restore(self, state: dict[str, Any]) -> None:
        """Returns to `state`: rows that were written after it are dropped.

        Warns if more than `slack` rows were written after the state: the rows that they overwrote
        are not sampled.

        Raises:
            ValueError: the state is not of these files, or they are damaged.
        """
        head = np.array(state["head"], np.int64)
        if head.shape != (self.num_envs,):
            raise ValueError(
                f"expected a replay state of {self.num_envs} streams, got one of {len(head)}"
            )
        if (head < 0).any() or (head > self._written).any():
            raise ValueError(
                f"the replay's files in {self.directory} end at rows {self._written.tolist()}, "
                f"before the state's rows {head.tolist()}: they are files of another run"
            )
        first = np.array(state.get("first", np.maximum(head - self._keep, 0)), np.int64)
        if "digest" in state:  # checkpoints of format 1 and 2 have none
            self._storage.check(state["digest"], first, head)
        wanted = np.maximum(first, head - self._keep)  # the replay may have another size now
        self._head = head
        self._open = [bool(is_open) for is_open in state["open"]]
        self._any_terminated = bool(state.get("any_terminated", True))  # it counted always before
        oldest = self._oldest()
        if lost := int(np.maximum(np.minimum(oldest, head) - wanted, 0).sum()):
            warnings.warn(
                f"{lost} replay rows were overwritten after the checkpoint and are not sampled: "
                f"the run wrote more than its slack of {self._rows - self._keep} rows",
                stacklevel=2,
            )
        for env in range(self.num_envs):
            newest = int(head[env]) - 1
            if newest >= 0:
                self._transition[self._place(env, newest)] = False
            rows = np.arange(oldest[env], head[env]) % self._rows + env * self._rows
            self._count[env] = np.count_nonzero(self._transition[rows])

    def _oldest(self) -> Ints:
        """Number (E,) of the oldest row that can be sampled, which is not overwritten."""
        oldest: Ints = np.maximum(self._head - self._keep, self._written - self._rows)
        return np.maximum(oldest, 0, out=oldest)

    def _starts(self, rng: np.random.Generator, batch: int, oldest: Ints) -> tuple[Ints, Ints]:
        """Stream and row (S,) of transitions; rows without a transition are redrawn."""
        recency = self._recency if self._any_terminated else 1.0
        length = np.maximum(self._head - 1 - oldest, 0)
        ends = np.cumsum(length)
        env, row = np.zeros((2, batch), np.int64)
        todo, missing = np.arange(batch), batch
        while missing:
            draw = rng.integers(ends[-1], size=missing)
            env[todo] = stream = np.searchsorted(ends, draw, side="right")
            age = length[stream] * rng.random(missing) ** recency
            row[todo] = self._head[stream] - 2 - age.astype(np.int64)
            todo = np.flatnonzero(~self._transition[env * self._rows + row % self._rows])
            missing = len(todo)
        return env, row

    def _append(self, env: int, observation: npt.NDArray[Any]) -> None:
        """Writes a row with an observation only, and drops the oldest if the stream is full."""
        head = int(self._head[env])
        self._storage.reserve(env, head + 1)
        leaves = head - self._keep
        if leaves >= max(0, int(self._written[env]) - self._rows):
            self._count[env] -= self._transition[self._place(env, leaves)]
        # Counted before it is written: a kill in between loses a row, but gives no wrong one.
        self._written[env] = max(int(self._written[env]), head + 1)
        at = self._place(env, head)
        self._transition[at] = False
        self._data["observation"][at] = observation
        self._head[env] = head + 1

    def _place(self, env: int, row: int) -> int:
        return env * self._rows + row % self._rows

    def _check_env(self, env: int) -> None:
        if not 0 <= env < self.num_envs:
            raise ValueError(f"expected a stream from 0 to {self.num_envs - 1}, got {env}")
