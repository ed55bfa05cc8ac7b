"""Data sets of Minari's whose actions and observations are choices."""

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from worldplan.agent.data.minari import minari_spec, read_minari


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("acts", "action", "one_hot"),
    [
        (spaces.Discrete(3, start=1), [3, 1], [[0, 0, 1], [1, 0, 0]]),
        (
            spaces.MultiDiscrete([2, 3]),
            [np.array([1, 0]), np.array([0, 2])],
            [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]],
        ),
    ],
)
def test_choices_are_one_hot(
    acts: spaces.Space[object],
    action: list[object],
    one_hot: list[list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    minari = pytest.importorskip("minari")
    from minari.data_collector.episode_buffer import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    buffer = EpisodeBuffer(
        id=None, observations=[0, 3, 1], actions=action, rewards=[1.0, 2.0],
        terminations=[False, True], truncations=[False, False],
    )  # fmt: skip
    minari.create_dataset_from_buffers(
        dataset_id="toy/choices-v0",
        buffer=[buffer],
        observation_space=spaces.Discrete(4),
        action_space=acts,
    )
    (episode,) = read_minari("toy/choices-v0")
    np.testing.assert_array_equal(episode.action, one_hot)
    np.testing.assert_array_equal(episode.observation, np.eye(4)[[0, 3, 1]])
    assert episode.terminated
    spec = minari_spec("toy/choices-v0")
    assert spec.observation.shape == (4,)
    assert spec.action.valid(episode.action).all()
