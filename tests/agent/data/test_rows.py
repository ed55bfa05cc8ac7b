"""Rows of the replay, for observations with pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worldplan.agent.data.batch import Batch
from worldplan.agent.data.replay import Replay
from worldplan.agent.data.rows import row_dtype
from worldplan.envs import ActionSpec, EnvironmentSpec
from worldplan.envs.spec import ObservationSpec

MIXED = ObservationSpec((131,), pictures=((2, 2, 8, 8),))
ALONE = ObservationSpec((128,), "uint8", pictures=((0, 2, 8, 8),))


@pytest.mark.parametrize("spec", [MIXED, ALONE])
def test_a_byte_of_a_picture_takes_a_byte(spec: ObservationSpec) -> None:
    row = row_dtype(spec, ActionSpec(1))["observation"]
    assert row.itemsize == 128 + 4 * spec.numbers.sum()


@pytest.mark.parametrize("spec", [MIXED, ALONE])
def test_observations_come_back_as_they_were(tmp_path: Path, spec: ObservationSpec) -> None:
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 256, (7, spec.size)).astype(spec.dtype)
    seen[:, spec.numbers] = rng.normal(size=(7, spec.numbers.sum()))
    replay = Replay(tmp_path, EnvironmentSpec(spec, ActionSpec(1)), 1, 100, 10)
    replay.begin(0, seen[0])
    for x in seen[1:]:
        replay.add(0, [0.0], 1.0, False, False, x)
    batch = replay.sample(rng, 50, 1, 2)
    blank = Batch.blank(50, 1, 2, spec, 1).observation  # of what is compiled beforehand
    assert batch.observation.dtype == blank.dtype == getattr(torch, spec.dtype)
    assert batch.observation.stride() == blank.stride()
    known = {x.tobytes() for x in seen}
    assert {x.tobytes() for x in batch.observation.numpy().reshape(-1, spec.size)} == known
    batch = replay.sample(rng, 50, 0, 1)
    first, second = batch.observation.numpy().transpose(1, 0, 2)
    times = (first[:, None] == seen).all(-1).argmax(1)
    np.testing.assert_array_equal(second, seen[times + 1])


def test_what_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    replay = Replay(tmp_path, EnvironmentSpec(MIXED, ActionSpec(1)), 1, 100, 10)
    with pytest.raises(ValueError, match=r"expected observation of shape \(131,\), got \(130,\)"):
        replay.begin(0, np.zeros(130))
    with pytest.raises(ValueError, match="finite observation"):
        replay.begin(0, np.full(131, np.nan))
