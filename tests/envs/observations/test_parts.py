"""Observations of several parts, as environments give them, and what is no observation."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from worldplan.envs import ObservationSpec
from worldplan.envs.observations.parts import parts_of

PAIR: Any = spaces.Box(-1, 1, (1,)), spaces.Box(-1, 1, (2,), np.float64)
SPACE = spaces.Dict(
    {
        "speed": spaces.Box(-1, 1, (1,)),
        "place": spaces.Dict({"y": spaces.Box(-1, 1, (2, 2)), "x": spaces.Box(-1, 1, (3,))}),
        "two": spaces.Tuple(PAIR),
    }
)
SPEC = ObservationSpec((11,), parts=parts_of(SPACE))


def batch(rows: Any) -> Any:
    """Parts with an axis of the batch, as a vector environment of Gymnasium gives them."""
    if isinstance(rows[0], dict):
        return {key: batch([row[key] for row in rows]) for key in rows[0]}
    if isinstance(rows[0], tuple):
        return tuple(batch(list(parts)) for parts in zip(*rows, strict=True))
    return np.stack(rows)


@pytest.mark.parametrize("count", [None, 1, 2, 5])
def test_a_dict_is_joined_as_gymnasium_does(count: int | None) -> None:
    SPACE.seed(0)
    rows: Any = [SPACE.sample() for _ in range(count or 1)]
    flat = np.stack([np.asarray(spaces.flatten(SPACE, row)) for row in rows]).astype(np.float32)
    found = SPEC.check(rows[0] if count is None else batch(rows))
    np.testing.assert_array_equal(found, flat[0] if count is None else flat)
    backwards = dict(reversed(rows[0].items()))
    np.testing.assert_array_equal(SPEC.check(backwards), flat[0])


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in SPACE.sample().items() if k != name}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (without("speed"), "of the parts 'place.x', 'place.y', 'speed', 'two.0', 'two.1', got 'pl"),
        (without("speed") | {"spin": [0.0]}, r"got 'place.x', .*'spin'"),
        (
            without("two") | {"two": (np.zeros(1), np.zeros(3))},
            r"2 numbers as part 'two.1'.*\(3,\)",
        ),
        (without("speed") | {"speed": np.zeros((2, 1))}, r"parts of one batch, got .* rows"),
        (without("speed") | {"speed": "fast"}, "real numbers, got <U4"),
        (without("speed") | {"speed": np.array([np.nan])}, "expected a finite"),
        ({}, "got none"),
        (None, "real numbers, got NoneType"),
        ("text", "real numbers, got <U4"),
        (np.zeros(11, complex), "real numbers, got complex128"),
        ((np.zeros(11), {}), "expected an observation of the parts"),
        ([np.zeros(11), np.zeros(3)], "real numbers, got list"),
        (torch.zeros(11, requires_grad=True), "real numbers, got Tensor"),
        (object(), "real numbers, got object"),
    ],
)
def test_what_is_no_observation_is_one_line(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        SPEC.check(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"x": np.zeros(3)}, (np.zeros(3), {}), {}])
def test_parts_are_for_observations_that_have_some(given: Any) -> None:
    for parts in (None, (("", 3),)):
        with pytest.raises(ValueError, match=f"real numbers, got {type(given).__name__}"):
            ObservationSpec((3,), parts=parts).check(given)
    np.testing.assert_array_equal(ObservationSpec((3,)).check((1, 2, 3)), [1, 2, 3])
