"""Improved cross-entropy method, iCEM (Pinneri et al., 2020, https://arxiv.org/abs/2008.06389).

Shapes: I iterations, B plans, N candidate sequences, K elites, T horizon, A action.
"""

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from worldplan.planners.candidates import Candidates
from worldplan.planners.config import PlannerConfig
from worldplan.planners.plan import PlanNoise
from worldplan.planners.planner import Planner, moments


class ICEMConfig(PlannerConfig):
    """Settings of `ICEM`. Here `keep` is above 0, as the algorithm keeps and shifts elites.

    Attributes:
        momentum: Weight of the old mean and standard deviation in the new ones.
        beta: Colour of the noise: its power is ~ frequency^-beta. 0 is white, 1 pink, 2 brown.
        decay: Each iteration draws this factor fewer samples, but at least twice the elites.
    """

    kind: Literal["icem"] = "icem"
    keep: float = Field(default=0.3, ge=0.0, le=1.0)
    choose: Literal["best", "mean", "sample"] = "best"
    momentum: float = Field(default=0.1, ge=0.0, lt=1.0)
    beta: float = Field(default=1.0, ge=0.0, le=100)
    decay: float = Field(default=1.0, ge=1.0, le=1000.0)


class ICEM(Planner[ICEMConfig]):
    """CEM with noise coloured in time, kept elites, and fewer samples in later iterations.

    The last iteration also evaluates the mean.
    """

    def draw_noise(
        self,
        batch: int,
        latent_dim: int,
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> PlanNoise:
        noise = super().draw_noise(batch, latent_dim, generator, device)
        return replace(noise, actions=colour(noise.actions, self.config.beta))

    def propose(
        self, i: int, mean: Tensor, std: Tensor, noise: Tensor, last: Candidates | None
    ) -> Tensor:
        c = self.config
        samples = max(round(c.samples * c.decay**-i), min(2 * c.elites, c.samples))
        actions = super().propose(i, mean, std, noise[:, :samples], last)
        return torch.cat([actions, mean[:, None]], 1) if i == c.iterations - 1 else actions

    def update(
        self, elites: Tensor, weights: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor]:
        new_mean, new_std = moments(elites, weights)
        return new_mean.lerp(mean, self.config.momentum), new_std.lerp(std, self.config.momentum)


def colour(white: Tensor, beta: float) -> Tensor:
    """Colours white noise (..., T, A) in time: power ~ frequency^-beta (Timmer & Koenig, 1995).

    The standard deviation is 1 at every step. In the package that the iCEM paper uses it is above
    1, most for short horizons: that package leaves the constant part out of the normalisation.
    """
    steps = white.shape[-2]
    frequency = torch.fft.rfftfreq(steps, device=white.device)
    # The constant part has frequency 0: it gets the power of the lowest other frequency.
    gain = frequency.clamp(min=1 / steps) ** (-beta / 2)
    # rfft stores each frequency once for two, except the constant and, if steps is even, the last.
    twice = torch.full_like(gain, 2.0)
    twice[0] = 1.0
    if steps % 2 == 0:
        twice[-1] = 1.0
    gain = gain / ((twice * gain.square()).sum() / steps).sqrt()
    spectrum = torch.fft.rfft(white, dim=-2) * gain[:, None]
    coloured: Tensor = torch.fft.irfft(spectrum, n=steps, dim=-2)
    return coloured
