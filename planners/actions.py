"""Action spaces: what a sequence of actions is made of, and what makes one executable.

Shapes: ... any leading shape, A numbers that describe an action, P = `policy_size` numbers that
describe a distribution over actions.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class ActionSpace(Protocol):
    """What planners and policies know of actions. The only place that assumes a kind."""

    size: int  # A
    policy_size: int  # P

    def executable(self, actions: Tensor) -> Tensor:
        """The nearest actions (..., A) that can be executed as they are."""

    def random(self, noise: Tensor) -> Tensor:
        """Actions (..., A), each as likely as any other, for standard normal noise (..., A)."""

    def sample(
        self, parameters: Tensor, noise: Tensor, log_std: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """Actions (..., A) of a policy, and their log probability (...) in nats.

        Args:
            parameters: (..., P), unbounded, as a network gives them.
            noise: (..., A) standard normal; 0 gives the mode.
            log_std: least and largest log standard deviation.
        """


class Box:
    """Vectors of A numbers in [-1, 1]. A policy over them is a tanh-Gaussian."""

    def __init__(self, size: int) -> None:
        self.size, self.policy_size = size, 2 * size

    def executable(self, actions: Tensor) -> Tensor:
        return actions.clamp(-1.0, 1.0)

    def random(self, noise: Tensor) -> Tensor:
        return torch.erf(noise / math.sqrt(2))  # the normal distribution's own quantiles

    def sample(
        self, parameters: Tensor, noise: Tensor, log_std: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.chunk(2, -1)
        low, high = log_std
        return squash(mean, low + (high - low) * 0.5 * (raw.tanh() + 1), noise)


def squash(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Tanh-Gaussian action and its log density (Haarnoja et al. 2018).

    Args:
        mean, log_std, noise: (..., A).

    Returns:
        action in (-1, 1) (..., A), log probability (...) in nats.
    """
    u = mean + log_std.exp() * noise
    gaussian = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
    # log(1 - tanh(u)^2), in the form that does not overflow.
    jacobian = 2 * (math.log(2) - u - F.softplus(-2 * u))
    return u.tanh(), (gaussian - jacobian).sum(-1)
