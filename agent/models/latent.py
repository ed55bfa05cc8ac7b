"""Distributions of the latent variable z, which represents what cannot be predicted.

Shapes: ... any leading shape, Z size of z, E size of its noise, G groups, K classes.

Samples are functions of standard normal noise for every kind of z. So a planner can draw the noise
once, use it for all candidates, and compute its density, without knowing the kind of z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from worldplan.planners.kinds import by_kind


class LatentDistribution(Protocol):
    """A batch of distributions over z, of any leading shape."""

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (..., E) -> z (..., Z), a deterministic function."""

    def mode(self) -> Tensor:
        """The most likely z (..., Z)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """z (..., Z) -> log density or log probability (...), in nats."""

    def kl(self, other: LatentDistribution) -> Tensor:
        """KL(self || other) (...), in nats; both must be of the same kind."""

    def detach(self) -> LatentDistribution:
        """The same distribution, without gradients."""


@dataclass(frozen=True)
class NoLatent:
    """z of size 0: the next state is a function of state and action."""

    shape: Tensor  # (..., 0)

    def sample(self, noise: Tensor) -> Tensor:
        return self.shape + noise  # broadcast to the leading shape of the noise

    def mode(self) -> Tensor:
        return self.shape

    def log_prob(self, z: Tensor) -> Tensor:
        return (self.shape + z).sum(-1)

    def kl(self, other: LatentDistribution) -> Tensor:
        return self.shape.sum(-1)

    def detach(self) -> NoLatent:
        return self


@dataclass(frozen=True)
class Gaussian:
    """Diagonal Gaussian."""

    mean: Tensor  # (..., Z)
    std: Tensor  # (..., Z), positive

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + self.std * noise

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, z: Tensor) -> Tensor:
        u = (z - self.mean) / self.std
        return (-0.5 * u**2 - self.std.log() - 0.5 * torch.log(torch.tensor(2 * torch.pi))).sum(-1)

    def kl(self, other: LatentDistribution) -> Tensor:
        assert isinstance(other, Gaussian), "KL is between distributions of one kind"
        ratio = (self.std / other.std) ** 2
        distance = ((self.mean - other.mean) / other.std) ** 2
        return 0.5 * (ratio + distance - 1 - ratio.log()).sum(-1)

    def detach(self) -> Gaussian:
        return Gaussian(self.mean.detach(), self.std.detach())


@dataclass(frozen=True)
class Categorical:
    """G independent one-hot groups of K classes, flattened to Z = G*K.

    Sampling inverts the cumulative distribution, so that z is a function of the noise. The gradient
    estimator is ReinMax (Liu et al. 2023, https://arxiv.org/abs/2304.08612), which is unbiased for
    losses that are quadratic in z. The straight-through gradient vanishes where the sampled class
    fits the data, and the KL then makes the posterior less certain.
    """

    logits: Tensor  # (..., G, K)

    @property
    def log_probs(self) -> Tensor:
        return self.logits.log_softmax(-1)

    def _one_hot(self, index: Tensor) -> Tensor:
        return F.one_hot(index, self.logits.shape[-1]).to(self.logits.dtype)

    def sample(self, noise: Tensor) -> Tensor:
        uniform = torch.special.ndtr(noise).unsqueeze(-1)
        log_probs = self.log_probs
        probs = log_probs.exp()
        # The last class also covers what rounding leaves out of the sum.
        hard = self._one_hot((probs.detach().cumsum(-1)[..., :-1] < uniform).sum(-1))
        # Half of the gradient is straight-through; half is a score-function gradient with the
        # linearised advantage of the sample over the mean. In this order the sum is exactly 0 or 1.
        score = torch.where(hard > 0, log_probs, 0).sum(-1, keepdim=True)
        soft = 0.5 * (probs + (hard - probs).detach() * score)
        return (hard + (soft - soft.detach())).flatten(-2)

    def mode(self) -> Tensor:
        probs = self.log_probs.exp()
        return (self._one_hot(self.logits.argmax(-1)) + (probs - probs.detach())).flatten(-2)

    def log_prob(self, z: Tensor) -> Tensor:
        # z may have more leading axes than the logits.
        groups = z.reshape(*z.shape[:-1], *self.logits.shape[-2:])
        return (groups * self.log_probs).sum((-2, -1))

    def kl(self, other: LatentDistribution) -> Tensor:
        assert isinstance(other, Categorical), "KL is between distributions of one kind"
        p, q = self.log_probs, other.log_probs
        return (p.exp() * (p - q)).sum((-2, -1))

    def detach(self) -> Categorical:
        return Categorical(self.logits.detach())


class LatentConfigBase(BaseModel):
    """Settings of the KL between posterior and prior, whatever the kind of z."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    free_bits: float = Field(
        default=0.01, ge=0, le=1000.0, description="KL per step without penalty, in nats"
    )
    kl_weight: float = Field(default=0.2, ge=0, le=1e6, description="weight of the KL in the loss")
    prior_share: float = Field(
        default=0.8, ge=0, le=1, description="fraction of the KL's gradient that trains the prior"
    )


class NoLatentConfig(LatentConfigBase):
    """No z: a deterministic model."""

    kind: Literal["none"] = "none"

    @property
    def width(self) -> int:
        return 0

    @property
    def noise(self) -> int:
        return 0

    @property
    def parameters(self) -> int:
        return 0

    def distribution(self, parameters: Tensor) -> LatentDistribution:
        return NoLatent(parameters)


class GaussianLatentConfig(LatentConfigBase):
    """A diagonal Gaussian z."""

    kind: Literal["gaussian"] = "gaussian"
    dim: int = Field(default=8, ge=1, le=4096, description="size of z")
    min_std: float = Field(
        default=0.1,
        gt=0,
        le=1000.0,
        description="lower bound of the standard deviation, keeps the KL finite",
    )

    @property
    def width(self) -> int:
        return self.dim

    @property
    def noise(self) -> int:
        return self.dim

    @property
    def parameters(self) -> int:
        return 2 * self.dim

    def distribution(self, parameters: Tensor) -> LatentDistribution:
        mean, raw = parameters.chunk(2, -1)
        # softplus(0.54) = 1: an untrained network starts near the standard normal.
        return Gaussian(mean, F.softplus(raw + 0.54) + self.min_std)


class CategoricalLatentConfig(LatentConfigBase):
    """A categorical z: independent groups of one-hot classes.

    One group should have enough classes for the outcomes of one event. Groups are sampled
    independently, so that an event coded by several groups gives impossible mixtures.
    """

    kind: Literal["categorical"] = "categorical"
    groups: int = Field(default=1, ge=1, le=1024, description="independent groups")
    classes: int = Field(default=8, ge=2, le=4096, description="classes per group")
    uniform: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="share of the uniform distribution mixed in, keeps the KL finite",
    )

    @property
    def width(self) -> int:
        return self.groups * self.classes

    @property
    def noise(self) -> int:
        return self.groups

    @property
    def parameters(self) -> int:
        return self.groups * self.classes

    def distribution(self, parameters: Tensor) -> LatentDistribution:
        shape = (*parameters.shape[:-1], self.groups, self.classes)
        probs = parameters.reshape(shape).softmax(-1)
        return Categorical(((1 - self.uniform) * probs + self.uniform / self.classes).log())


LatentConfig = Annotated[
    NoLatentConfig | GaussianLatentConfig | CategoricalLatentConfig,
    Field(discriminator="kind"),
    by_kind("latent", ("none", "gaussian", "categorical")),
]
