"""Replay memory: what the environments did, on disk, sampled as windows of consecutive steps.

Letters: E environments (streams), R rows of one stream's ring, D observation, A action,
S windows in a batch, H transitions after a window's start.

An episode of L transitions takes L + 1 consecutive rows of its stream: row j holds x(j), a(j), r(j)
and terminated(j), and the last one x(L) alone. So each observation is stored once, the true final
one included, and a row that is no transition marks where an episode ends. The newest row of an
ongoing episode is no transition either, yet.

Rows are numbered from the start of the run, without end; row i lies at i modulo R.
"""

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from worldplan.envs import EnvironmentSpec

Ints = npt.NDArray[np.int64]


class ReplayConfig(BaseModel):
    """How much is remembered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # rows kept: one per transition and one more per episode; None: as many as the run has steps
    capacity: int | None = Field(default=None, ge=2)


@dataclass(frozen=True)
class Batch:
    """S windows; the transition drawn stands at index `before`. Float32 but for `valid` (bool).

    A position that is not valid lies before the episode's start, after its end, or in the future:
    it repeats the nearest observation of the window and has zero action, reward and terminated.
    """

    observation: Tensor  # (S, before + H + 1, D)
    action: Tensor  # (S, before + H, A)
    reward: Tensor  # (S, before + H)
    terminated: Tensor  # (S, before + H), 1 where the transition ended the task for good
    valid: Tensor  # (S, before + H), the transition exists and is of the same episode

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on `device`."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


class Replay:
    """E rings of rows in memory-mapped files under `directory`.

    `capacity` counts rows over all streams: an episode takes one more than it has transitions.
    Sampling sees the newest ceil(capacity / E) rows of each stream. `slack` more rows per stream
    lie behind them: a run killed up to `slack` rows after a checkpoint finds everything the
    checkpoint's state speaks of. Files are sparse: they take up disk as they fill.

    With `resume` the files are opened as they are, and `restore` says what of them counts;
    without it files of an earlier run are replaced. Raises ValueError for senseless sizes or files
    of others, FileNotFoundError for missing files.
    """

    def __init__(
        self,
        directory: Path,
        spec: EnvironmentSpec,
        num_envs: int,
        capacity: int,
        slack: int,
        *,
        resume: bool = False,
    ) -> None:
        observation, action = spec.observation, spec.action
        if min(num_envs, observation.size, action.size) < 1 or slack < 0:
            raise ValueError(f"replay sizes must be at least 1, slack 0: {num_envs=}, {slack=}")
        if capacity < 2 * num_envs:
            raise ValueError(f"replay capacity is {capacity} rows, {num_envs} streams need 2 each")
        self.directory = directory
        self.num_envs = num_envs
        self._keep = -(-capacity // num_envs)
        self._rows = self._keep + slack

        # One record per row, so that a window lies in one place of the disk and of the cache.
        record = np.dtype(
            [
                ("observation", observation.dtype, observation.shape),
                ("action", np.float32, (action.size,)),
                ("reward", np.float32),
                ("terminated", np.bool_),
                ("transition", np.bool_),  # the next row is of the same episode
            ],
            align=True,
        )
        directory.mkdir(parents=True, exist_ok=True)
        rows = _open(directory / "rows.npy", num_envs * self._rows, record, resume)
        # Rows ever written: tells a resumed run what was overwritten after its checkpoint.
        written = _open(directory / "written.npy", num_envs, np.dtype(np.int64), resume)
        self._files = (rows, written)
        self.nbytes = rows.nbytes + written.nbytes  # on disk once full
        # Plain views of the same memory: np.memmap is slow to index.
        self._data, self._written = np.asarray(rows), np.asarray(written)
        self._transition = self._data["transition"]

        self._head = np.zeros(num_envs, np.int64)  # number of the next row
        self._open = [False] * num_envs  # an episode is under way
        self._count = np.zeros(num_envs, np.int64)  # transitions that sampling sees

    @property
    def transitions(self) -> int:
        """Transitions that sampling sees."""
        return int(self._count.sum())

    def begin(self, env: int, observation: npt.ArrayLike) -> None:
        """Start an episode of stream `env` at x(0), (D,).

        An episode still under way is cut off at its newest row, as by truncation: so a resumed
        run, whose environment starts afresh, just begins.
        """
        self._check_env(env)
        x = _numbers("observation", observation, self._data.dtype["observation"])
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
        """Store the transition of stream `env` from its newest observation by `action` (A,).

        `next_observation` (D,) is what the environment returned, at an episode's end its true
        final observation and not that of the next reset. Raises ValueError without `begin`, for a
        wrong shape and for numbers that are not finite; nothing is stored then.
        """
        self._check_env(env)
        if not self._open[env]:
            raise ValueError(f"add to stream {env} without an episode: call begin first")
        x = _numbers("next_observation", next_observation, self._data.dtype["observation"])
        a = _numbers("action", action, self._data.dtype["action"])
        r = _numbers("reward", reward, self._data.dtype["reward"])
        at = self._place(env, int(self._head[env]) - 1)
        row = self._data[at]
        row["action"], row["reward"], row["terminated"] = a, r, terminated
        self._append(env, x)
        self._transition[at] = True
        self._count[env] += 1
        self._open[env] = not (terminated or truncated)

    def sample(self, rng: np.random.Generator, batch: int, before: int, after: int) -> Batch:
        """`batch` windows of `before` + `after` transitions, their starts uniform over all stored.

        Raises ValueError when nothing is stored and for sizes that make no sense.
        """
        if batch < 1 or before < 0 or after < 1:
            raise ValueError(f"sample sizes make no sense: {batch=}, {before=}, {after=}")
        if not self._count.any():
            raise ValueError("sample from an empty replay: add a transition first")
        oldest = self._oldest()
        env, row = self._starts(rng, batch, oldest)
        base, row = (env * self._rows)[:, None], row[:, None]

        window = row + np.arange(-before, after)
        valid = self._transition[base + window % self._rows]
        # An episode is a run of transitions without gap, on either side of the start.
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
        observation = np.ascontiguousarray(rows["observation"])
        action, reward, terminated = (
            np.array(rows[name][:, :-1], np.float32) for name in ("action", "reward", "terminated")
        )
        beyond = ~valid
        action[beyond], reward[beyond], terminated[beyond] = 0, 0, 0
        return Batch(*map(torch.from_numpy, (observation, action, reward, terminated, valid)))

    def state(self) -> dict[str, Any]:
        """Where the streams stand, as JSON: it belongs in the checkpoint."""
        return {"head": self._head.tolist(), "open": list(self._open)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`: rows written after it are forgotten, and will be written again.

        Warns where more than `slack` rows followed the state: what they overwrote is left out.
        Raises ValueError for a state that is not of these files.
        """
        head = np.array(state["head"], np.int64)
        if head.shape != (self.num_envs,):
            raise ValueError(f"the replay has {self.num_envs} streams, its state {len(head)}")
        if (head < 0).any() or (head > self._written).any():
            raise ValueError(
                f"the replay's files in {self.directory} end at rows {self._written.tolist()}, "
                f"before the state's {head.tolist()}: they are of another run"
            )
        self._head = head
        self._open = [bool(is_open) for is_open in state["open"]]
        wanted, oldest = np.maximum(head - self._keep, 0), self._oldest()
        if lost := int(np.maximum(np.minimum(oldest, head) - wanted, 0).sum()):
            warnings.warn(
                f"{lost} replay rows were overwritten after the checkpoint and are left out: "
                f"the run went on for more than the slack of {self._rows - self._keep} rows",
                stacklevel=2,
            )
        for env in range(self.num_envs):
            newest = int(head[env]) - 1
            if newest >= 0:
                self._transition[self._place(env, newest)] = False
            rows = np.arange(oldest[env], head[env]) % self._rows + env * self._rows
            self._count[env] = np.count_nonzero(self._transition[rows])

    def flush(self) -> None:
        """Write all to disk: needed against power loss only, not against a kill."""
        for file in self._files:
            file.flush()

    def _oldest(self) -> Ints:
        """Number of the oldest row that sampling sees, (E,). Rows overwritten are none of them."""
        oldest: Ints = np.maximum(self._head - self._keep, self._written - self._rows)
        return np.maximum(oldest, 0, out=oldest)

    def _starts(self, rng: np.random.Generator, batch: int, oldest: Ints) -> tuple[Ints, Ints]:
        """Stream and row of `batch` transitions, (S,) each: any row, drawn again where none is."""
        ends = np.cumsum(np.maximum(self._head - 1 - oldest, 0))
        shift = self._head - 1 - ends
        env, row = np.zeros(batch, np.int64), np.zeros(batch, np.int64)
        todo: Ints | slice = slice(None)
        missing = batch
        while missing:
            draw = rng.integers(ends[-1], size=missing)
            env[todo] = stream = np.searchsorted(ends, draw, side="right")
            row[todo] = draw + shift[stream]
            todo = np.flatnonzero(~self._transition[env * self._rows + row % self._rows])
            missing = len(todo)
        return env, row

    def _append(self, env: int, observation: npt.NDArray[Any]) -> None:
        """Write an observation-only row, and forget the oldest if the stream is full."""
        head = int(self._head[env])
        leaves = head - self._keep
        if leaves >= max(0, int(self._written[env]) - self._rows):
            self._count[env] -= self._transition[self._place(env, leaves)]
        # Counted before it is written: a kill in between costs a row, never a wrong one.
        self._written[env] = max(int(self._written[env]), head + 1)
        at = self._place(env, head)
        self._transition[at] = False
        self._data["observation"][at] = observation
        self._head[env] = head + 1

    def _place(self, env: int, row: int) -> int:
        return env * self._rows + row % self._rows

    def _check_env(self, env: int) -> None:
        if not 0 <= env < self.num_envs:
            raise ValueError(f"replay has streams 0 to {self.num_envs - 1}, got {env}")


def _open(path: Path, rows: int, dtype: np.dtype[Any], resume: bool) -> np.memmap[Any, Any]:
    if not resume:
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(rows,))
    if not path.exists():
        raise FileNotFoundError(f"no replay to resume from: {path} is missing")
    file = np.lib.format.open_memmap(path, mode="r+")
    if file.shape != (rows,) or file.dtype != dtype:
        raise ValueError(
            f"{path} holds {len(file)} rows of {file.dtype}, this run wants {rows} of {dtype}: "
            "resume with the sizes that the run was started with"
        )
    return file


def _numbers(name: str, value: npt.ArrayLike, field: np.dtype[Any]) -> npt.NDArray[Any]:
    """The value in a field's shape and dtype."""
    shape = field.shape
    # Checked after the cast: what overflows float32 is as bad as what came infinite.
    with np.errstate(over="ignore"):
        array = np.asarray(value).astype(field.base)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite: {array}")
    return array
