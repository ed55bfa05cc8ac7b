"""The networks of Enc, one for each kind of observation. A new kind is one more line here.

Shapes: ... any leading shape, D observation, C channels, S side of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from worldplan.agent.models.networks import MLP, Normaliser
from worldplan.agent.models.size import Size, mlp_size
from worldplan.envs import ObservationSpec
from worldplan.envs.observations.pictures import Layout


class PicturesConfig(BaseModel):
    """Convolutions that read pictures, one entry a layer, and how pictures are augmented.

    The default is half as wide as the DQN's (Mnih et al. 2015), which on a CPU takes a sixth to an
    eighth of the time of TD-MPC2's four layers of 32 channels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: tuple[int, ...] = Field(default=(16, 32, 32), min_length=1)
    """Of each layer."""
    kernels: tuple[int, ...] = Field(default=(8, 4, 3), min_length=1)
    """Height and width of each kernel."""
    strides: tuple[int, ...] = Field(default=(4, 2, 1), min_length=1)
    """Of each layer, in both directions."""
    shift: int = Field(default=0, ge=0, le=64)
    """Pictures are learned from after a random shift by up to so many pixels."""

    @model_validator(mode="after")
    def _layers_fit(self) -> PicturesConfig:
        lengths = {len(self.channels), len(self.kernels), len(self.strides)}
        if len(lengths) > 1 or min(*self.channels, *self.kernels, *self.strides) < 1:
            raise ValueError(
                "expected as many channels as kernels and strides, all at least 1, got "
                f"{self.channels}, {self.kernels} and {self.strides}"
            )
        return self

    def size(self, channels: int, height: int, width: int) -> Size:
        """Of the layers for such pictures; `kept` are the features that they give.

        Raises:
            ValueError: the pictures are too small for the layers.
        """
        size, given = Size(hidden=channels * height * width), (height, width)
        for made, kernel, stride in zip(self.channels, self.kernels, self.strides, strict=True):
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
            if min(height, width) < 1:
                raise ValueError(
                    f"pictures of {given[0]} x {given[1]} pixels are too small for kernels of "
                    f"{self.kernels} with strides of {self.strides}; expected a larger "
                    "env.image_size, or smaller model.pictures.kernels and strides"
                )
            pixels = made * height * width
            size = replace(size + Size(channels * made * kernel**2, pixels), kept=pixels)
            channels = made
        return size


class PictureEncoder(nn.Module):
    """Reads each picture by convolutions, and joins what they give with the other numbers."""

    numbers: Tensor  # indices of what belongs to no picture

    def __init__(
        self, observation: ObservationSpec, embedding: int, width: int, config: PicturesConfig
    ) -> None:
        super().__init__()
        self.pictures = observation.pictures or ()
        self.readers = nn.ModuleList(_reader(shape[0], config) for _, *shape in self.pictures)
        numbers = torch.from_numpy(observation.numbers.nonzero()[0])
        self.register_buffer("numbers", numbers, persistent=False)
        read = sum(config.size(*shape).kept for _, *shape in self.pictures)
        self.joint = MLP(len(numbers) + read, embedding, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised observations (..., D) -> (..., embedding)."""
        rows = x.reshape(-1, x.shape[-1])
        parts = [rows[:, self.numbers]]
        for (start, *shape), read in zip(self.pictures, self.readers, strict=True):
            picture = rows[:, start : start + math.prod(shape)].reshape(-1, *shape)
            parts.append(read(picture))
        h: Tensor = self.joint(torch.cat(parts, -1))
        return h.reshape(*x.shape[:-1], -1)


def _reader(channels: int, config: PicturesConfig) -> nn.Sequential:
    """Convolutions of pictures (B, C, H, W) -> (B, features)."""
    layers: list[nn.Module] = []
    for width, kernel, stride in zip(config.channels, config.kernels, config.strides, strict=True):
        layer = nn.Conv2d(channels, width, kernel, stride)
        nn.init.orthogonal_(layer.weight, nn.init.calculate_gain("relu"))  # as DrQ-v2
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        layers += [layer, nn.SiLU()]
        channels = width
    return nn.Sequential(*layers, nn.Flatten())


def shifted(x: Tensor, pictures: Layout, most: int, generator: torch.Generator | None) -> Tensor:
    """Moves the pictures of each window by up to `most` pixels in both directions.

    The edge is repeated, as in DrQ-v2 (Yarats et al. 2021, https://arxiv.org/abs/2107.09645). All
    steps of a window move alike here, so that what moves within it can still be seen.

    Args:
        x: observations (S, L, D), of any type.
    """
    moved = x.clone()
    for start, channels, height, width in pictures:
        by = torch.randint(-most, most + 1, (2, len(x), 1), generator=generator, device=x.device)
        row = (torch.arange(height, device=x.device) + by[0]).clamp(0, height - 1)
        column = (torch.arange(width, device=x.device) + by[1]).clamp(0, width - 1)
        source = (row[:, :, None] * width + column[:, None]).view(len(x), 1, -1)
        where = slice(start, start + channels * height * width)
        layers = x[..., where].reshape(len(x), -1, height * width)
        found = layers.gather(2, source.expand(-1, layers.shape[1], -1))
        moved[..., where] = found.view_as(x[..., where])
    return moved


def mlp(
    observation: ObservationSpec, embedding: int, width: int, config: PicturesConfig
) -> nn.Module:
    """An encoder of vectors (..., D) -> (..., embedding). One hidden layer, as in TD-MPC2."""
    return MLP(observation.size, embedding, width, 1)


Maker = Callable[[ObservationSpec, int, int, PicturesConfig], nn.Module]
ENCODERS: dict[str, Maker] = {"vector": mlp, "pictures": PictureEncoder}


def make_encoder(
    observation: ObservationSpec, embedding: int, width: int, config: PicturesConfig
) -> nn.Module:
    """The network that reads normalised observations into vectors of size `embedding`.

    Raises:
        ValueError: pictures that are too small for the convolutions.
    """
    return ENCODERS[observation.kind](observation, embedding, width, config)


def make_normaliser(observation: ObservationSpec) -> Normaliser:
    """Statistics of observations, which know pictures from other numbers."""
    numbers = torch.from_numpy(observation.numbers) if observation.pictures else None
    return Normaliser(observation.size, numbers=numbers)


def encoder_size(
    observation: ObservationSpec, embedding: int, width: int, config: PicturesConfig
) -> Size:
    """About how large the network is."""
    read = [config.size(*shape) for _, *shape in observation.pictures or ()]
    joined = int(observation.numbers.sum()) + sum(size.kept for size in read)
    whole = mlp_size(joined, embedding, width, 1)
    for size in read:
        whole += replace(size, kept=0)
    return whole
