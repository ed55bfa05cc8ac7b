"""Action spaces: how actions are drawn, sampled from a policy, and made executable.

Shapes: ... any leading shape, A size of an action, P = `policy_size` parameters of a distribution
over actions.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class ActionSpace(Protocol):
    """What planners and policies need of actions. Nothing else assumes a kind of action."""

    size: int  # A
    policy_size: int  # P

    def executable(self, actions: Tensor) -> Tensor:
        """Projects actions (..., A) to the nearest ones that can be executed."""

    def random(self, noise: Tensor) -> Tensor:
        """Uniform actions (..., A) for standard normal noise (..., A)."""

    def sample(
        self, parameters: Tensor, noise: Tensor, log_std: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """Samples actions from a policy by reparameterisation.

        Args:
            parameters: (..., P), unbounded outputs of a network.
            noise: (..., A) standard normal; 0 gives the mode.
            log_std: lowest and highest log standard deviation.

        Returns:
            Actions (..., A), and their log probability (...) in nats.
        """


class Box:
    """Vectors of A numbers in [-1, 1]. A policy over them is a tanh-Gaussian."""

    def __init__(self, size: int) -> None:
        self.size, self.policy_size = size, 2 * size

    def executable(self, actions: Tensor) -> Tensor:
        return actions.clamp(-1.0, 1.0)

    def random(self, noise: Tensor) -> Tensor:
        return torch.erf(noise / math.sqrt(2))  # 2 * (cumulative distribution of the normal) - 1

    def sample(
        self, parameters: Tensor, noise: Tensor, log_std: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.chunk(2, -1)
        low, high = log_std
        return squash(mean, low + (high - low) * 0.5 * (raw.tanh() + 1), noise)


def squash(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Tanh-Gaussian action and its log density (SAC: Haarnoja et al. 2018).

    https://arxiv.org/abs/1801.01290

    Args:
        mean, log_std, noise: (..., A).

    Returns:
        Actions (..., A) in (-1, 1), and their log probability (...) in nats.
    """
    u = mean + log_std.exp() * noise
    gaussian = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
    # log(1 - tanh(u)^2), in a form that does not overflow.
    jacobian = 2 * (math.log(2) - u - F.softplus(-2 * u))
    return u.tanh(), (gaussian - jacobian).sum(-1)
