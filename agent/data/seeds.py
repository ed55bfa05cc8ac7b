"""Seeds of episodes: those of training and those of evaluation never meet."""

from __future__ import annotations

import numpy as np

_TRAINING, _HELD_OUT = 0, 1  # streams of seeds, which never meet


def training_seed(run_seed: int, episode: int) -> int:
    """Reset seed of a training episode, from the run's seed and the episode's number alone."""
    return _derive(_TRAINING, run_seed, episode)


def held_out_seeds(episodes: int, first: int = 0) -> list[int]:
    """Reset seeds of evaluation episodes: the same for every run, so that runs compare."""
    return [_derive(_HELD_OUT, 0, first + i) for i in range(episodes)]


def _derive(*key: int) -> int:
    # 31 bits: dm_control's legacy generator takes no more than 32.
    return int(np.random.SeedSequence(key).generate_state(1)[0] >> 1)
