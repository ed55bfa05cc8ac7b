"""Which transitions a batch is made of."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from tests.agent.data.test_replay import A, D, World, make
from worldplan.agent.data.batch import Batch
from worldplan.agent.data.replay import Replay
from worldplan.envs import EnvironmentSpec, ObservationSpec


def test_starts_are_uniform_over_transitions(tmp_path: Path) -> None:
    replay = make(tmp_path, envs=3)
    lengths = {(0, 0): 1, (0, 1): 9, (1, 0): 5, (1, 1): 1, (1, 2): 1, (1, 3): 1}
    worlds = [World(replay, 0), World(replay, 1)]  # stream 2 has nothing
    for (env, _), length in lengths.items():
        worlds[env].episode(length)
    draws = 18_000
    x = replay.sample(np.random.default_rng(0), draws, 0, 1).observation[:, 0, :3]
    starts, counts = np.unique(x, axis=0, return_counts=True)
    count = sum(lengths.values())
    assert len(starts) == count == replay.transitions
    chi_square = ((counts - draws / count) ** 2 / (draws / count)).sum()
    assert chi_square < 45  # 17 degrees of freedom: 0.9998


@pytest.mark.parametrize(("recency", "of_newest"), [(1.0, 0.01), (2.0, 0.1), (4.0, 0.316)])
def test_recent_transitions_are_sampled_more_often(
    tmp_path: Path, recency: float, of_newest: float
) -> None:
    replay = Replay(tmp_path, EnvironmentSpec.vectors(1, 1), 2, 4000, 10, recency=recency)
    for env in range(2):
        replay.begin(env, [0.0])
        for t in range(1000):
            replay.add(env, [0.0], t, t == 999 and env == 1, False, [0.0])
    when = replay.sample(np.random.default_rng(0), 40_000, 0, 1).reward[:, 0]
    assert (when >= 990).float().mean() == pytest.approx(of_newest, rel=0.1)
    assert when.min() == 0
    assert when.max() == 999


def test_recency_counts_once_an_episode_has_terminated(tmp_path: Path) -> None:
    """Also after the run is resumed, whatever was written since its checkpoint."""

    def share(replay: Replay) -> float:
        when = replay.sample(np.random.default_rng(0), 20_000, 0, 1).reward[:, 0]
        return float((when >= 90).float().mean())

    sizes = (tmp_path, EnvironmentSpec.vectors(1, 1), 1, 4000, 10)
    replay = Replay(*sizes, recency=2.0)
    replay.begin(0, [0.0])
    for t in range(100):
        replay.add(0, [0.0], t, False, t == 99, [0.0])
    assert share(replay) == pytest.approx(0.1, rel=0.1)
    before = replay.state()
    replay.begin(0, [0.0])
    replay.add(0, [0.0], 0, True, False, [0.0])
    # Of 102 rows the newest 1 + 1 + 10 hold these ten: sqrt(12 / 102) - sqrt(2 / 102).
    assert share(replay) == pytest.approx(0.2, rel=0.1)
    after = replay.state()

    again = Replay(*sizes, recency=2.0, resume=True)
    again.restore(after)
    assert share(again) == share(replay)
    again.restore(before)
    assert share(again) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(("before", "after"), [(0, 3), (2, 1)])
def test_a_blank_batch_is_laid_out_as_a_sampled_one(
    tmp_path: Path, before: int, after: int
) -> None:
    """Code that was compiled for the one is not compiled again for the other."""
    replay = make(tmp_path, envs=1)
    World(replay, 0).episode(9)
    sampled = replay.sample(np.random.default_rng(0), 8, before, after)
    blank = Batch.blank(8, before, after, ObservationSpec((D,)), A)
    for field in fields(Batch):
        one, other = (getattr(batch, field.name) for batch in (sampled, blank))
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)
