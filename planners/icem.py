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
    """Settings of `ICEM`. `keep`, the elites that are kept and shifted, is part of the algorithm.

    Attributes:
        momentum: Share of the old mean and standard deviation in the new ones.
        beta: Colour of the noise, whose power falls as frequency^-beta: 0 white, 1 pink, 2 brown.
        decay: Factor by which the samples shrink in each iteration, to twice the elites at least.
    """

    kind: Literal["icem"] = "icem"
    keep: float = Field(default=0.3, ge=0.0, le=1.0)
    choose: Literal["best", "mean", "sample"] = "best"
    momentum: float = Field(default=0.1, ge=0.0, lt=1.0)
    beta: float = Field(default=1.0, ge=0.0)
    decay: float = Field(default=1.0, ge=1.0)


class ICEM(Planner[ICEMConfig]):
    """CEM with noise coloured in time, kept elites, fewer samples later, and the mean at last."""

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

    The standard deviation stays 1 at every step. The paper's package excludes the constant part
    from that and so exceeds it, most where horizons are short.
    """
    steps = white.shape[-2]
    frequency = torch.fft.rfftfreq(steps, device=white.device)
    # The constant part has no frequency: it gets the power of the slowest wave.
    gain = frequency.clamp(min=1 / steps) ** (-beta / 2)
    # Each frequency but the constant and, if steps is even, the last stands for two.
    twice = torch.full_like(gain, 2.0)
    twice[0] = 1.0
    if steps % 2 == 0:
        twice[-1] = 1.0
    gain = gain / ((twice * gain.square()).sum() / steps).sqrt()
    spectrum = torch.fft.rfft(white, dim=-2) * gain[:, None]
    coloured: Tensor = torch.fft.irfft(spectrum, n=steps, dim=-2)
    return coloured
