"""Replay. The observations of `World` encode stream, episode, time and last action."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from worldplan.agent.data.batch import Batch
from worldplan.agent.data.replay import Replay
from worldplan.envs import EnvironmentSpec

D, A = 4, 2  # observation: stream, episode, t, last action
SPEC = EnvironmentSpec.vectors(D, A)


class World:
    """One stream with random actions; the reward of step t is t + 0.5."""

    def __init__(self, replay: Replay, env: int, seed: int = 0) -> None:
        self.replay, self.env = replay, env
        self.rng = np.random.default_rng(seed)
        self.episodes = 0

    def episode(self, length: int, *, terminates: bool = False, ends: bool = True) -> None:
        self.replay.begin(self.env, [self.env, self.episodes, 0, -1])
        for t in range(length):
            action = self.rng.uniform(-1, 1, A)
            done = ends and t == length - 1
            self.replay.add(
                self.env,
                action,
                t + 0.5,
                done and terminates,
                done and not terminates,
                [self.env, self.episodes, t + 1, action[0]],
            )
        self.episodes += 1


def make(path: Path, envs: int = 1, capacity: int = 1000, slack: int = 10) -> Replay:
    return Replay(path, SPEC, envs, capacity, slack)


def check(batch: Batch, before: int) -> None:
    """Checks what is true of all windows of `World`."""
    x, a, valid = batch.observation, batch.action, batch.valid
    assert valid[:, before].all()
    step = torch.arange(valid.shape[1]) - before
    t = x[:, before, 2, None] + step
    here, there = x[:, :-1], x[:, 1:]
    assert (here[..., :2][valid] == x[:, before, None, :2].expand_as(here[..., :2])[valid]).all()
    assert (here[..., 2] == t)[valid].all()
    assert (there[..., 2] == t + 1)[valid].all()
    assert (there[..., 3] == a[..., 0])[valid].all()
    assert (batch.reward == t + 0.5)[valid].all()
    for column in (a, batch.reward, batch.terminated):
        assert not column[~valid].any()
    # Positions without a transition repeat the observation.
    assert (here == there).all(-1)[~valid].all()
    # Valid positions are contiguous and include the start.
    assert (valid[:, before:].int().diff(dim=1) <= 0).all()
    assert (valid[:, : before + 1].int().diff(dim=1) >= 0).all()


@pytest.mark.parametrize("before", [0, 1, 4])
@pytest.mark.parametrize("after", [1, 3])
def test_windows_are_of_one_episode_and_have_the_right_positions(
    tmp_path: Path, before: int, after: int
) -> None:
    replay = make(tmp_path, envs=2)
    for env in range(2):
        world = World(replay, env, seed=env)
        for length in (1, 7, 2, 5):
            world.episode(length, terminates=length == 2)
        world.episode(6, ends=False)
    assert replay.transitions == 2 * 21
    batch = replay.sample(np.random.default_rng(0), 500, before, after)
    assert batch.observation.shape == (500, before + after + 1, D)
    assert batch.action.shape == (500, before + after, A)
    for column in (batch.reward, batch.terminated, batch.valid):
        assert column.shape == (500, before + after)
    assert batch.valid.dtype == torch.bool
    assert all(
        part.dtype == torch.float32 and part.is_contiguous()
        for part in (batch.observation, batch.action, batch.reward, batch.terminated)
    )
    check(batch, before)
    # The mask is true exactly where transitions exist.
    lengths = torch.tensor([1, 7, 2, 5, 6])[batch.observation[:, before, 1].long()]
    t = batch.observation[:, before, 2, None] + torch.arange(-before, after)
    assert (batch.valid == ((t >= 0) & (t < lengths[:, None]))).all()


def test_final_observation_and_termination_are_kept(tmp_path: Path) -> None:
    replay = make(tmp_path)
    world = World(replay, 0)
    world.episode(3, terminates=True)
    world.episode(3, terminates=False)
    batch = replay.sample(np.random.default_rng(0), 200, 0, 1)
    episode, t = batch.observation[:, 0, 1], batch.observation[:, 0, 2]
    assert (batch.observation[:, 1, 2] == t + 1).all()
    assert (t == 2).any()
    assert (batch.terminated[:, 0].bool() == ((episode == 0) & (t == 2))).all()


def test_masks_at_start_and_end(tmp_path: Path) -> None:
    replay = make(tmp_path)
    World(replay, 0).episode(1, terminates=True)
    batch = replay.sample(np.random.default_rng(0), 1, 2, 2)
    assert batch.valid.tolist() == [[False, False, True, False]]
    assert batch.terminated.tolist() == [[0, 0, 1, 0]]
    assert batch.observation[0, :, 2].tolist() == [0, 0, 0, 1, 1]


def test_a_full_ring_buffer_drops_the_oldest_rows(tmp_path: Path) -> None:
    replay = make(tmp_path, envs=2, capacity=40, slack=3)
    worlds = [World(replay, env) for env in range(2)]
    for step in range(60):
        for world in worlds:
            world.episode(1 + step % 7, terminates=True)
        batch = replay.sample(np.random.default_rng(step), 64, 3, 3)
        check(batch, 3)
        seen = replay.sample(np.random.default_rng(step), 1000, 0, 1).observation[:, 0, :3]
        assert len(np.unique(seen, axis=0)) == replay.transitions <= 40
    for stream in range(2):
        newest = batch.observation[batch.observation[:, 3, 0] == stream][:, 3, 1]
        assert newest.min() >= 53  # 20 rows hold no more than the last few episodes


def test_a_window_does_not_include_rows_beyond_the_capacity(tmp_path: Path) -> None:
    replay = make(tmp_path, capacity=5, slack=5)
    World(replay, 0).episode(8, ends=False)
    batch = replay.sample(np.random.default_rng(0), 100, 4, 1)
    assert replay.transitions == 4
    assert batch.observation[:, 4, 2].min() == 4
    assert batch.observation[..., 2].min() == 4
    check(batch, 4)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one))


@pytest.mark.parametrize("more", [0, 1, 4, 12])
def test_restore_drops_what_was_written_after_the_state(tmp_path: Path, more: int) -> None:
    replay = make(tmp_path, envs=2, capacity=30, slack=12)
    world, other = World(replay, 0), World(replay, 1)
    for _ in range(5):
        world.episode(4)
        other.episode(2)
    world.episode(3, ends=False)
    state, transitions = replay.state(), replay.transitions
    wanted = replay.sample(np.random.default_rng(1), 64, 2, 3)
    for _ in range(more):
        replay.add(0, [9, 9], 9, False, False, [9, 9, 9, 9])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Replay(tmp_path, SPEC, 2, 30, 12, resume=True)
        again.restore(state)
    assert again.transitions == transitions
    assert same(wanted, again.sample(np.random.default_rng(1), 64, 2, 3))
    # The ongoing episode continues, and overwrites the dropped rows.
    again.add(0, [0.25, 0], 3.5, False, True, [0, 5, 4, 0.25])
    check(again.sample(np.random.default_rng(2), 256, 2, 3), 2)
    assert again.state()["open"] == [False, False]


def test_a_resumed_stream_may_start_a_new_episode(tmp_path: Path) -> None:
    replay = make(tmp_path)
    world = World(replay, 0)
    world.episode(3, ends=False)
    world.episode(3)
    assert replay.transitions == 6
    check(replay.sample(np.random.default_rng(0), 256, 3, 3), 3)


def test_restore_does_not_sample_rows_that_were_overwritten(tmp_path: Path) -> None:
    replay = make(tmp_path, capacity=20, slack=4)
    world = World(replay, 0)
    world.episode(30, ends=False)
    state = {k: v for k, v in replay.state().items() if k != "digest"}  # as older checkpoints
    for _ in range(9):
        replay.add(0, [9, 9], 9, False, False, [9, 9, 9, 9])
    again = Replay(tmp_path, SPEC, 1, 20, 4, resume=True)
    with pytest.warns(UserWarning, match=r"5 replay rows were overwritten.*slack of 4"):
        again.restore(state)
    assert again.transitions == 14
    for t in range(30, 60):
        check(again.sample(np.random.default_rng(t), 128, 2, 2), 2)
        again.add(0, [0.5, 0], t + 0.5, False, False, [0, 0, t + 1, 0.5])
    assert again.transitions == 19


KILLED = """
import os, pathlib, signal, sys
from worldplan.agent.data.replay import Replay
from worldplan.envs import EnvironmentSpec
replay = Replay(pathlib.Path(sys.argv[1]), EnvironmentSpec.vectors(1, 1), 1, 8, 4)
replay.begin(0, [0])
for t in range(10):
    replay.add(0, [t], t, False, False, [t + 1])
print(replay.state()["head"][0], flush=True)
for t in range(3):
    replay.add(0, [99], 99, False, False, [99])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_process_loses_no_rows(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    replay = Replay(tmp_path, EnvironmentSpec.vectors(1, 1), 1, 8, 4, resume=True)
    replay.restore({"head": [int(done.stdout)], "open": [True]})
    batch = replay.sample(np.random.default_rng(0), 200, 0, 1)
    assert np.unique(batch.reward).tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert (batch.observation[:, 1, 0] == batch.action[:, 0, 0] + 1).all()


def test_files_are_sparse_and_nbytes_is_their_size(tmp_path: Path) -> None:
    replay = make(tmp_path, envs=2, capacity=200_000, slack=1000)
    files = list(tmp_path.iterdir())
    headers = sum(file.stat().st_size for file in files) - replay.nbytes
    assert 0 < headers < 1024
    assert replay.nbytes >= 2 * 101_000 * 4 * (D + A + 1)
    if hasattr(os.stat_result, "st_blocks"):
        assert sum(file.stat().st_blocks * 512 for file in files) < replay.nbytes / 10
    replay.flush()


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    replay = make(tmp_path)
    good = (np.zeros(A), 0.0, False, False, np.zeros(D))
    with pytest.raises(ValueError, match="replay is empty"):
        replay.sample(np.random.default_rng(0), 1, 0, 1)
    with pytest.raises(ValueError, match="call begin first"):
        replay.add(0, *good)
    with pytest.raises(ValueError, match=r"expected observation of shape \(4,\), got \(3,\)"):
        replay.begin(0, np.zeros(3))
    with pytest.raises(ValueError, match="expected a stream from 0 to 0, got 1"):
        replay.begin(1, np.zeros(D))
    replay.begin(0, np.zeros(D))
    with pytest.raises(ValueError, match="replay is empty"):
        replay.sample(np.random.default_rng(0), 1, 0, 1)
    with pytest.raises(ValueError, match="expected action of shape"):
        replay.add(0, np.zeros(3), *good[1:])
    with pytest.raises(ValueError, match="expected a finite reward"):
        replay.add(0, good[0], float("nan"), *good[2:])
    with pytest.raises(ValueError, match="expected a finite next_observation"):
        replay.add(0, *good[:4], np.full(D, 1e300))
    assert replay.transitions == 0
    replay.add(0, np.zeros(A), 0.0, False, True, np.zeros(D))
    with pytest.raises(ValueError, match="call begin first"):
        replay.add(0, *good)
    with pytest.raises(ValueError, match="batch=1, before=0, after=0"):
        replay.sample(np.random.default_rng(0), 1, 0, 0)


def test_wrong_sizes_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="slack=-1"):
        Replay(tmp_path, SPEC, 1, 10, -1)
    with pytest.raises(ValueError, match="each of 4 streams, got 7; nearest: 8"):
        Replay(tmp_path, SPEC, 4, 7, 0)
    with pytest.raises(FileNotFoundError, match="no replay to resume from"):
        Replay(tmp_path, SPEC, 1, 10, 0, resume=True)
    Replay(tmp_path, SPEC, 2, 10, 0)
    with pytest.raises(ValueError, match="sizes that the run was started with"):
        Replay(tmp_path, EnvironmentSpec.vectors(D, A + 1), 2, 10, 0, resume=True)
    replay = Replay(tmp_path, SPEC, 2, 10, 0, resume=True)
    with pytest.raises(ValueError, match="of 2 streams, got one of 1"):
        replay.restore({"head": [0], "open": [False]})
    with pytest.raises(ValueError, match="of another run"):
        replay.restore({"head": [5, 0], "open": [False, False]})
