"""Action spaces: how actions are drawn, sampled from a policy, and made executable.

Shapes: ... any leading shape, A size of an action, P = `policy_size` parameters of a distribution
over actions; K choices among n each.
"""

import math
from collections.abc import Callable
from itertools import groupby
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class ActionSpace(Protocol):
    """What planners and policies need of actions. Nothing else assumes a kind of action.

    A search distribution is a mean and a standard deviation (..., A). A mean of 0 knows nothing.
    """

    size: int  # A
    policy_size: int  # P
    continuous: bool  # whether an action can be moved along a gradient

    def executable(self, actions: Tensor) -> Tensor:
        """Projects actions (..., A) to the nearest ones that can be executed."""

    def random(self, noise: Tensor, scale: float = 1.0) -> Tensor:
        """Uniform actions (..., A) for standard normal noise (..., A).

        Numbers are in [-scale, scale], and executable up to a scale of 1.
        """

    def draw(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Actions (..., A) of a search distribution, for standard normal noise (..., A).

        They are not yet `executable`.
        """

    def explore(
        self, action: Tensor, mean: Tensor, std: Tensor, least: float, noise: Tensor
    ) -> Tensor:
        """An executable action (..., A) near the planned one, for standard normal noise (..., A).

        Args:
            action: (..., A) the planned one.
            mean, std: (..., A) the search distribution that it comes from.
            least: standard deviation of the noise at least, where actions are in [-1, 1].
        """

    def widen(self, mean: Tensor, std: Tensor, least: float) -> tuple[Tensor, Tensor]:
        """The search distribution with a standard deviation of at least `least`."""

    def sample(
        self, parameters: Tensor, noise: Tensor, log_std: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """Samples executable actions from a policy, with a gradient.

        Args:
            parameters: (..., P), unbounded outputs of a network.
            noise: (..., A) standard normal; 0 gives the mode.
            log_std: lowest and highest log standard deviation, of numbers.

        Returns:
            Actions (..., A), and their log probability (...) in nats, or its mean over all actions.
        """


class Box:
    """Vectors of A numbers in [-1, 1]. A policy over them is a tanh-Gaussian."""

    continuous = True

    def __init__(self, size: int) -> None:
        self.size, self.policy_size = size, 2 * size

    def executable(self, actions: Tensor) -> Tensor:
        return actions.clamp(-1.0, 1.0)

    def random(self, noise: Tensor, scale: float = 1.0) -> Tensor:
        # 2 * (cumulative distribution of the normal) - 1
        return torch.erf(noise / math.sqrt(2)) * scale

    def draw(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        return torch.addcmul(mean, std, noise)

    def explore(
        self, action: Tensor, mean: Tensor, std: Tensor, least: float, noise: Tensor
    ) -> Tensor:
        return self.executable(action + std.clamp(min=least) * noise)

    def widen(self, mean: Tensor, std: Tensor, least: float) -> tuple[Tensor, Tensor]:
        return mean, std.clamp(min=least)

    def sample(
        self, parameters: Tensor, noise: Tensor, log_std: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.chunk(2, -1)
        low, high = log_std
        return squash(mean, low + (high - low) * 0.5 * (raw.tanh() + 1), noise)


class Categorical:
    """K choices, each among n, as one-hot vectors side by side: A is the sum of all n.

    A mean holds the probabilities of a search distribution, and the standard deviation follows from
    them. Of one-hot sequences, the mean over elites are again probabilities.
    """

    continuous = False
    uniform_share = 0.01  # of a policy, so that no choice dies; as in DreamerV3

    def __init__(self, choices: tuple[int, ...]) -> None:
        """`choices` are the n of each."""
        self.choices = choices
        self.size = self.policy_size = sum(choices)
        # Neighbours among equally many are handled at once.
        self._runs = [(len(list(run)), n) for n, run in groupby(choices)]

    def executable(self, actions: Tensor) -> Tensor:
        """One-hot vectors of the largest entries."""
        return self._each(_one_hot, actions)

    def chosen(self, actions: Tensor) -> Tensor:
        """Which are the largest entries of actions (..., A): whole numbers (..., K) from 0."""
        parts = torch.split(actions, list(self.choices), -1)
        return torch.stack([part.argmax(-1) for part in parts], -1)

    def random(self, noise: Tensor, scale: float = 1.0) -> Tensor:
        return self.executable(noise)  # any of n independent numbers may be the largest

    def draw(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Log probabilities with Gumbel noise: the largest is a sample (Gumbel-max)."""
        return mean.log() + gumbel(noise)

    def explore(
        self, action: Tensor, mean: Tensor, std: Tensor, least: float, noise: Tensor
    ) -> Tensor:
        """Draws from the search distribution, beside which a uniform one has the weight least².

        So 4% of choices are random at 0.2: least² is the noise's variance among numbers too, as a
        share of the most that there is in [-1, 1]. Where 17% were, one of three seeds of CartPole
        failed (docs/experiments.md, sixteenth round).
        """
        return self.executable(self.draw(self._beside_uniform(mean, least**2), std, noise))

    def widen(self, mean: Tensor, std: Tensor, least: float) -> tuple[Tensor, Tensor]:
        """Mixes in the share least / (1 + least) of the uniform distribution."""
        mean = self._beside_uniform(mean, least)
        return mean, (mean * (1 - mean)).sqrt()

    def _beside_uniform(self, mean: Tensor, weight: float) -> Tensor:
        """Probabilities (..., A), with a uniform distribution of some weight beside them."""

        def mixed(p: Tensor) -> Tensor:
            return (p + weight / p.shape[-1]) / (p.sum(-1, keepdim=True) + weight)

        return self._each(mixed, mean)

    def sample(
        self, parameters: Tensor, noise: Tensor, log_std: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """The gradient passes straight through to the probabilities (Bengio et al. 2013).

        https://arxiv.org/abs/1308.3432
        """

        def mixed(logits: Tensor) -> Tensor:
            p = logits.softmax(-1, dtype=torch.float32)
            return p.lerp(torch.full_like(p, 1 / p.shape[-1]), self.uniform_share)

        p = self._each(mixed, parameters)
        drawn = self.executable(self.draw(p.detach(), p, noise))
        return drawn + (p - p.detach()), (p * p.log()).sum(-1)

    def _each(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Applies a function of (..., k, n) to every choice in x (..., A)."""
        parts = x.split_with_sizes([k * n for k, n in self._runs], -1)
        done = [
            function(part.view(*x.shape[:-1], k, n)).flatten(-2)
            for part, (k, n) in zip(parts, self._runs, strict=True)
        ]
        return torch.cat(done, -1)


def gumbel(noise: Tensor) -> Tensor:
    """Standard Gumbel noise (...) made of standard normal noise (...)."""
    # Rounding to 0 or 1 would give infinity.
    u: Tensor = torch.special.ndtr(noise).clamp(1e-7, 1 - 1e-7)
    return -(-u.log()).log()


def _one_hot(x: Tensor) -> Tensor:
    """1 at the largest of x (..., n), the first if there are several, and 0 elsewhere."""
    return torch.zeros_like(x).scatter(-1, x.argmax(-1, keepdim=True), 1.0)


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
