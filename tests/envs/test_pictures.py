"""Pictures as observations are refused until they are supported."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from worldplan.envs import EnvConfig, make_env

PICTURE = spaces.Box(0, 255, (64, 48, 3), np.uint8)
VECTOR = spaces.Box(-1, 1, (2, 3), np.float32)


class Seen(gym.Env[Any, Any]):
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, space: Any) -> None:
        self.observation_space = space


def made(space: Any) -> Any:
    gym.register("toy/Seen-v0", lambda **kwargs: Seen(space))
    try:
        return make_env(EnvConfig(id="toy/Seen-v0"))
    finally:
        del gym.registry["toy/Seen-v0"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (PICTURE, r"got pictures \(64, 48, 3\) of uint8, which are not supported yet"),
        (spaces.Box(0, 255, (8, 8), np.uint8), r"got pictures \(8, 8\) of uint8"),
        (spaces.Box(0, 1, (3, 32, 32)), r"got pictures \(3, 32, 32\) of float32"),
        (
            spaces.Dict({"arm": VECTOR, "eyes": spaces.Tuple([VECTOR, PICTURE])}),
            r"of uint8 in observation\['eyes'\]\['1'\], which",
        ),
    ],
)
def test_pictures_are_refused_in_one_line(space: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        made(space)
    assert len(str(refused.value).splitlines()) == 1


def test_small_fields_of_numbers_are_vectors() -> None:
    bytes_in_a_row = spaces.Box(0, 255, (128,), np.uint8)
    for space in (VECTOR, bytes_in_a_row, spaces.Dict({"a": VECTOR, "b": bytes_in_a_row})):
        assert made(space).observation_space.dtype == np.float32
