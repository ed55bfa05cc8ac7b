"""Observations as they are compared: numbers as they are, of pictures the newest, made small.

Shapes: ... any leading shape, D observation, V numbers that are compared, h by w a small picture.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from worldplan.envs.spec import ObservationSpec

_SIDE = 32  # pixels of a small picture at most
_COLOURS = 3


class Sight:
    """What of an observation a decoder is to tell, and how it looks."""

    def __init__(self, spec: ObservationSpec) -> None:
        self.spec = spec
        self.numbers = torch.from_numpy(spec.numbers.nonzero()[0])

    def small(self, x: Tensor) -> Tensor:
        """Observations (..., D) -> (..., V) float32: the numbers, then small pictures, 0 to 1."""
        rows = x.reshape(-1, x.shape[-1])
        parts = [rows[:, self.numbers].float()]
        for start, channels, height, width in self.spec.pictures or ():
            newest = _newest(channels)
            end = start + channels * height * width
            picture = rows[:, end - newest * height * width : end].view(-1, newest, height, width)
            side = min(height, width, _SIDE)
            parts.append(F.adaptive_avg_pool2d(picture.float() / 255, side).flatten(1))
        return torch.cat(parts, 1).view(*x.shape[:-1], -1)

    def name(self, number: int) -> str:
        """Of one of the V numbers."""
        beyond = number - len(self.numbers)
        return f"observation {int(self.numbers[number])}" if beyond < 0 else f"pixel {beyond}"

    def drawn(self, values: Tensor) -> NDArray[Any]:
        """The first picture in (..., V), as red, green and blue (..., h, w, 3), bytes."""
        assert self.spec.pictures
        _, channels, height, width = self.spec.pictures[0]
        newest, side = _newest(channels), min(height, width, _SIDE)
        at = len(self.numbers)
        picture = values[..., at : at + newest * side * side]
        picture = picture.reshape(*values.shape[:-1], newest, side, side).movedim(-3, -1)
        whole = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
        return whole.expand(*whole.shape[:-1], _COLOURS).numpy()


def _newest(channels: int) -> int:
    """Channels of the newest picture of a stack: three if they can be colours, or else one."""
    return _COLOURS if channels % _COLOURS == 0 else 1
