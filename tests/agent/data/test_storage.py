"""The replay's files: space is reserved, and damage is noticed."""

import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldplan.agent.data import storage
from worldplan.agent.data.replay import Replay
from worldplan.envs import EnvironmentSpec

SPEC = EnvironmentSpec.vectors(2, 1)


def open_(path: Path, resume: bool = False) -> Replay:
    return Replay(path, SPEC, 2, capacity=12, slack=8, resume=resume)


def filled(path: Path, seed: int = 0) -> tuple[Replay, dict[str, Any]]:
    """A replay whose ring buffers were filled more than once, and its state."""
    replay, rng = open_(path), np.random.default_rng(seed)
    for env in (0, 1):
        for _ in range(6):
            replay.begin(env, rng.normal(size=2))
            for _ in range(4):
                replay.add(env, rng.uniform(-1, 1, 1), 0.5, False, False, rng.normal(size=2))
    return replay, replay.state()


def test_rows_after_the_state_do_not_matter(tmp_path: Path) -> None:
    replay, state = filled(tmp_path)
    for env in (0, 1):
        replay.begin(env, [7, 7])
        for _ in range(7):  # as many as the slack
            replay.add(env, [0], 7, False, False, [7, 7])
    open_(tmp_path, resume=True).restore(state)


@pytest.mark.parametrize("name", ["observation", "action", "reward", "terminated", "transition"])
def test_a_changed_value_is_noticed(tmp_path: Path, name: str) -> None:
    _, state = filled(tmp_path)
    rows = np.lib.format.open_memmap(tmp_path / "rows.npy", mode="r+")
    at = (state["head"][1] - 3) % 14 + 14  # of stream 1, among the newest
    rows[name][at] = ~rows[name][at] if rows[name].dtype == bool else rows[name][at] + 1
    rows.flush()
    with pytest.raises(ValueError, match=r"rows\.npy does not hold the rows of the checkpoint"):
        open_(tmp_path, resume=True).restore(state)


def test_rows_of_another_run_are_noticed(tmp_path: Path) -> None:
    _, state = filled(tmp_path / "a", 0)
    filled(tmp_path / "b", 1)
    shutil.copy(tmp_path / "b" / "rows.npy", tmp_path / "a")
    with pytest.raises(ValueError, match="of another run or step"):
        open_(tmp_path / "a", resume=True).restore(state)


@pytest.mark.parametrize("rows", [13, 15, 30, 31, 200])
def test_ring_buffers_are_enlarged_with_all_that_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(storage, "_ROWS", 3)
    replay, state = filled(tmp_path)
    before = replay.sample(np.random.default_rng(0), 64, 0, 1)
    larger = Replay(tmp_path, SPEC, 2, capacity=2 * rows, slack=8, resume=True)
    larger.restore(state)
    assert len(np.load(tmp_path / "rows.npy")) == 2 * (rows + 8)
    # The slack of the smaller ones can be sampled too: 14 rows, of which three end episodes.
    assert larger.transitions == 2 * (min(rows, 14) - -(-min(rows, 14) // 5))
    after = larger.sample(np.random.default_rng(0), 512, 0, 1)
    seen = {tuple(x) for x in after.observation.flatten(0, 1).tolist()}
    assert {tuple(x) for x in before.observation.flatten(0, 1).tolist()} <= seen
    assert np.isin(after.reward, [0.5]).all()
    larger.begin(0, [7, 7])
    larger.add(0, [0], 0.5, False, False, [7, 7])
    again = Replay(tmp_path, SPEC, 2, capacity=2 * rows, slack=8, resume=True)
    again.restore(larger.state())
    # One of the old size finds the larger files as they are.
    open_(tmp_path, resume=True).restore(state)
    assert len(np.load(tmp_path / "rows.npy")) == 2 * (rows + 8)


def test_a_full_disk_leaves_ring_buffers_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    _, state = filled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_copy", full)
        with pytest.raises(OSError, match=r"No space left on device.*rows\.npy"):
            Replay(tmp_path, SPEC, 2, capacity=40, slack=8, resume=True)
    open_(tmp_path, resume=True).restore(state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.npy", "written.npy"]


@pytest.mark.parametrize("size", [0, 5, 100, -1])
@pytest.mark.parametrize("name", ["rows.npy", "written.npy"])
def test_a_file_cut_short_is_not_extended(tmp_path: Path, name: str, size: int) -> None:
    filled(tmp_path)
    content = (tmp_path / name).read_bytes()[:size]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is damaged or cut short"):
        open_(tmp_path, resume=True)
    assert (tmp_path / name).read_bytes() == content


def test_a_full_disk_is_noticed_before_anything_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    replay, _ = filled(tmp_path)
    replay = open_(tmp_path / "new")
    replay.begin(0, [0, 0])
    before = replay.state()
    replay._storage._reserved = [1, 0]
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match=r"no room for the replay.*rows\.npy"):
            replay.add(0, [0], 0, False, False, [1, 1])
        with pytest.raises(OSError, match="no room for the replay"):
            replay.begin(1, [0, 0])
        with pytest.raises(OSError, match="no room for the replay"):
            replay.reserve(1)
    assert replay.state() == before
    replay.add(0, [0], 0, False, False, [1, 1])
    assert replay.transitions == 1


def test_space_is_taken_as_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(storage, "_CHUNK", 100)
    monkeypatch.setattr(os, "posix_fallocate", lambda _, offset, size: taken.append((offset, size)))
    replay, _ = filled(tmp_path)
    size = replay._data.dtype.itemsize
    streams = [[t for t in taken if (t[0] - taken[0][0]) // (14 * size) == env] for env in (0, 1)]
    for parts in streams:
        assert sum(size for _, size in parts) == 14 * size
        assert all(a + n == b for (a, n), (b, _) in itertools.pairwise(parts))
