"""Reset seeds of episodes, from separate streams for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

_TRAINING, _HELD_OUT, _COLLECTED, _COLLECTING = range(4)  # streams of seeds


def training_seed(run_seed: int, episode: int) -> int:
    """Reset seed of a training episode, a function of the run's seed and the episode's number."""
    return _derive(_TRAINING, run_seed, episode)


def collector_seeds(run_seed: int, number: int) -> tuple[int, Iterator[int]]:
    """Of the collector of a number in a run: the seed of its actions, those of its episodes."""
    acting = _derive(_COLLECTING, run_seed, number)
    return acting, (_derive(_COLLECTED, run_seed, number, episode) for episode in count())


def held_out_seeds(episodes: int, first: int = 0) -> list[int]:
    """Reset seeds of evaluation episodes, the same for all runs, so that runs are comparable."""
    return [_derive(_HELD_OUT, 0, first + i) for i in range(episodes)]


def _derive(*key: int) -> int:
    # 31 bits: dm_control's legacy generator takes at most 32.
    return int(np.random.SeedSequence(key).generate_state(1)[0] >> 1)
