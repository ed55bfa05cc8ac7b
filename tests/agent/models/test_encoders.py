"""Enc of observations with pictures."""

import numpy as np
import pytest
import torch
from torch import nn

from worldplan.agent.models import networks
from worldplan.agent.models.autoregressive import AutoregressiveConfig
from worldplan.agent.models.encoders import (
    PictureEncoder,
    PicturesConfig,
    encoder_size,
    make_encoder,
    make_normaliser,
    shifted,
)
from worldplan.agent.models.ensemble import EnsembleConfig
from worldplan.agent.models.jepa import JEPA, JEPAConfig
from worldplan.agent.models.registry import make_model
from worldplan.envs import ActionSpec, EnvironmentSpec
from worldplan.envs.spec import ObservationSpec

# Two numbers, a picture (2, 8, 8), one more number.
MIXED = ObservationSpec((131,), pictures=((2, 2, 8, 8),))
SMALL = PicturesConfig(channels=(3, 4), kernels=(4, 2), strides=(2, 1))
WIDE = PicturesConfig(channels=(2,), kernels=(3,), strides=(1,), shift=1)
VECTOR = ObservationSpec((3,))


def test_of_pictures_the_mean_is_taken_off_and_numbers_have_their_own_scale() -> None:
    normaliser = make_normaliser(MIXED)
    x = torch.randn(50, 131) * 3 + 5
    x[:, 2:130] = torch.randint(0, 256, (50, 128)).float()
    x[:, 2] = 200  # never changes
    normaliser.update(x)
    y = normaliser(x)
    pixels = x[:, 2:130]
    torch.testing.assert_close(y[:, 2:130], (pixels - pixels.mean(0)) / 32)
    assert not y[:, 2].any()
    numbers = y[:, [0, 1, 130]]
    torch.testing.assert_close(numbers.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(numbers.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_many_observations_are_added_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(50, 3)
    whole, parts = make_normaliser(VECTOR), make_normaliser(VECTOR)
    whole.update(x)
    monkeypatch.setattr(networks, "_AT_ONCE", 21)
    parts.update(x)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value)


def test_only_what_moves_is_shifted() -> None:
    """A dot on a striped floor: the stripes stay."""
    spec = ObservationSpec((64,), "uint8", pictures=((0, 1, 8, 8),))
    model = JEPA(JEPAConfig(pictures=WIDE), EnvironmentSpec(spec, ActionSpec(1)))
    floor = torch.arange(8).remainder(2).mul(100).expand(8, 8).to(torch.uint8)
    model.observe(floor.reshape(1, 64))
    x = floor.repeat(40, 2, 1, 1)
    x[:, :, 4, 4] += 50
    moved = model.augment(x.view(40, 2, 64), torch.Generator().manual_seed(0)).view(40, 2, 8, 8)
    assert moved.dtype == torch.uint8
    away = moved.int() - floor.int()
    assert (away.sum((2, 3)) == 50).all()
    assert ((away == 0) | (away == 50)).all()
    assert len({tuple(window[0].nonzero()[0].tolist()) for window in away}) == 9


def test_the_encoder_reads_the_picture_where_it_is() -> None:
    encoder = PictureEncoder(MIXED, 5, 7, SMALL)
    x = torch.randn(4, 6, 131)
    h = encoder(x)
    assert h.shape == (4, 6, 5)
    convolve, joint = encoder.readers[0], encoder.joint
    rows = x.view(24, 131)
    read = convolve(rows[:, 2:130].view(24, 2, 8, 8))
    expected = joint(torch.cat([rows[:, [0, 1, 130]], read], 1)).view(4, 6, 5)
    torch.testing.assert_close(h, expected)


def test_its_size_is_known_beforehand() -> None:
    encoder = make_encoder(MIXED, 5, 7, SMALL)
    layers = [m for m in encoder.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert encoder_size(MIXED, 5, 7, SMALL).weights == sum(m.weight.numel() for m in layers)


def test_a_window_is_shifted_alike_and_its_edges_repeat() -> None:
    x = torch.zeros(200, 3, 131)
    picture = torch.arange(64).view(8, 8).expand(200, 3, 2, 8, 8)
    x[..., 2:130] = picture.reshape(200, 3, 128)
    x[..., 0] = x[..., 130] = 7
    moved = shifted(x, MIXED.pictures or (), 2, torch.Generator().manual_seed(0))
    found = moved[..., 2:130].view(200, 3, 2, 8, 8)
    assert (moved[..., [0, 130]] == 7).all()
    assert (found == found[:, :1, :1]).all()  # all steps and channels of a window alike
    ways = set()
    for window in found[:, 0, 0]:
        row, column = (int(v) - 3 for v in divmod(int(window[3, 3]), 8))
        ways.add((row, column))
        rows, columns = (torch.arange(8) + by for by in (row, column))
        expected = rows.clamp(0, 7)[:, None] * 8 + columns.clamp(0, 7)
        assert torch.equal(window, expected.float())
    assert ways == {(r, c) for r in range(-2, 3) for c in range(-2, 3)}


def test_shifted_bytes_stay_bytes() -> None:
    x = torch.randint(0, 256, (3, 2, 64), dtype=torch.uint8)
    assert shifted(x, ((0, 1, 8, 8),), 1, None).dtype == torch.uint8


def test_pictures_too_small_for_the_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="8 x 8 pixels are too small"):
        make_encoder(MIXED, 5, 7, PicturesConfig())


def test_layers_have_all_three_settings() -> None:
    with pytest.raises(ValueError, match="as many channels as kernels and strides"):
        PicturesConfig(channels=(8,), kernels=(3, 3), strides=(1, 1))


@pytest.mark.parametrize("config", [EnsembleConfig(), AutoregressiveConfig()])
def test_families_that_predict_observations_refuse_pictures(config: object) -> None:
    with pytest.raises(ValueError, match="got pictures; expected model=jepa"):
        make_model(config, EnvironmentSpec(MIXED, ActionSpec(1)))  # type: ignore[arg-type]


def test_numbers_of_a_spec() -> None:
    assert np.flatnonzero(MIXED.numbers).tolist() == [0, 1, 130]
