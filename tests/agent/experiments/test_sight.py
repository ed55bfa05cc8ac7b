"""Observations with pictures, as `imagine` compares and draws them."""

import numpy as np
import torch

from worldplan.agent.experiments.imagine.pictures import Sight
from worldplan.envs.spec import ObservationSpec


def test_the_newest_picture_is_kept_beside_the_numbers() -> None:
    """Two pictures (3, 4, 4) in a stack, between two numbers."""
    sight = Sight(ObservationSpec((98,), pictures=((1, 6, 4, 4),)))
    x = torch.zeros(2, 5, 98)
    x[..., 0], x[..., 97] = 7, 8
    x[..., 1:49] = 51  # the older picture
    x[..., 49:97] = torch.arange(48.0) * 5
    small = sight.small(x)
    assert small.shape == (2, 5, 2 + 48)
    assert (small[..., :2] == torch.tensor([7.0, 8.0])).all()
    torch.testing.assert_close(small[..., 2:], torch.arange(48.0).mul(5 / 255).expand(2, 5, 48))
    drawn = sight.drawn(small)
    assert drawn.shape == (2, 5, 4, 4, 3)
    np.testing.assert_array_equal(drawn[0, 0].transpose(2, 0, 1).ravel(), np.arange(48) * 5)


def test_large_pictures_are_made_small_by_their_means() -> None:
    sight = Sight(ObservationSpec((64 * 64,), "uint8", pictures=((0, 1, 64, 64),)))
    x = torch.zeros(1, 64, 64, dtype=torch.uint8)
    x[0, 0, 0] = 255
    small = sight.small(x.view(1, -1))
    assert small.shape == (1, 32 * 32)
    assert small[0, 0] == 0.25
    assert not small[0, 1:].any()


def test_of_vectors_all_is_compared() -> None:
    sight = Sight(ObservationSpec((3,)))
    x = torch.randn(4, 3)
    assert torch.equal(sight.small(x), x)
    assert sight.name(2) == "observation 2"
