"""Choices in observations, as environments give them."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from worldplan.envs import ObservationSpec
from worldplan.envs.observations.choices import choices_of
from worldplan.envs.observations.parts import parts_of

SPACES: dict[str, spaces.Space[Any]] = {
    "one": spaces.Discrete(4, start=-1),
    "several": spaces.MultiDiscrete([2, 3, 4], start=[0, 1, -2]),
    "a grid": spaces.MultiDiscrete(np.array([[2, 3], [3, 2]])),
    "bits": spaces.MultiBinary(3),
}
TOGETHER = spaces.Dict({**SPACES, "numbers": spaces.Box(-1, 1, (2,))})


def spec(space: spaces.Space[Any]) -> ObservationSpec:
    return ObservationSpec(
        (spaces.flatdim(space),), parts=parts_of(space), choices=choices_of(space)
    )


@pytest.mark.parametrize("space", [*SPACES.values(), TOGETHER], ids=[*SPACES, "together"])
def test_they_become_one_hot_as_in_gymnasium(space: spaces.Space[Any]) -> None:
    space.seed(0)
    given, seen = [space.sample() for _ in range(5)], spec(space)
    flat = np.stack([np.asarray(spaces.flatten(space, x)) for x in given]).astype(np.float32)
    for one, wanted in zip(given, flat, strict=True):
        np.testing.assert_array_equal(seen.check(one), wanted)
    together = (
        {key: np.stack([x[key] for x in given]) for key in TOGETHER}
        if space is TOGETHER
        else np.stack(given)
    )
    np.testing.assert_array_equal(seen.check(together), flat)
    np.testing.assert_array_equal(seen.check(flat), flat)  # as `make_env` gives them


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("one", 3, r"expected choices from -1 to 2 in an observation, got 3"),
        ("one", np.array([0, -2]), r"from -1 to 2 .* got -2"),
        ("several", [0, 0, 0], r"from 1 to 3 .* got 0"),
        ("several", [0, 1], r"expected an observation of shape \(9,\)"),
        ("one", 0.0, r"expected an observation of shape \(4,\)"),
    ],
)
def test_what_is_no_option_is_one_line(name: str, given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        spec(SPACES[name]).check(given)
