"""Building blocks: layers, SimNorm, the batched ensemble, the two-hot code of a scalar.

Shapes: ... any leading shape, I inputs, O outputs, W width, E ensemble members, K bins.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

# SiLU everywhere: TD-MPC2 uses Mish, which costs several times as much on a CPU. Whether it learns
# better was not tried.


class MLP(nn.Sequential):
    """Hidden layers of Linear, LayerNorm, SiLU; a plain linear layer last."""

    def __init__(
        self, inputs: int, outputs: int, width: int, layers: int, *, zero_output: bool = False
    ) -> None:
        modules: list[nn.Module] = []
        for _ in range(layers):
            modules += [nn.Linear(inputs, width), nn.LayerNorm(width), nn.SiLU()]
            inputs = width
        super().__init__(*modules, nn.Linear(inputs, outputs))
        for module in self:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)  # as TD-MPC2
                nn.init.zeros_(module.bias)
        if zero_output:
            last = self[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O), as precise as the weights even if products ran in less."""
        precise = next(self.parameters()).dtype
        for module in self:
            x = module(x)
        return x.to(precise)


class EnsembleMLP(nn.Module):
    """E MLPs that read the same input, each layer one batched product.

    `frozen=True` in a call closes the weights to gradients but not the input: what a policy needs
    to climb a value that it must not train.
    """

    def __init__(self, members: int, inputs: int, outputs: int, width: int, layers: int) -> None:
        super().__init__()
        sizes = [inputs, *[width] * layers, outputs]
        self.weights = nn.ParameterList(
            nn.Parameter(nn.init.trunc_normal_(torch.empty(members, i, o), std=0.02))
            for i, o in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, o)) for o in sizes[1:])
        self.scales = nn.ParameterList(
            nn.Parameter(torch.ones(members, 1, width)) for _ in range(layers)
        )
        self.shifts = nn.ParameterList(
            nn.Parameter(torch.zeros(members, 1, width)) for _ in range(layers)
        )
        with torch.no_grad():
            self.weights[-1].zero_()

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """(..., I) -> (E, ..., O)."""

        def use(p: Tensor) -> Tensor:
            return p.detach() if frozen else p

        rows = x.reshape(1, -1, x.shape[-1]).expand(self.weights[0].shape[0], -1, -1)
        y = self._through(rows, use)
        return y.reshape(-1, *x.shape[:-1], y.shape[-1])

    def of_one(self, x: Tensor, member: Tensor, block: int = 32) -> Tensor:
        """(..., I) and one-hot members (..., E) -> what the member of each row says (..., O).

        Rows are dealt into blocks, each for one member, so that shapes do not hang on who is asked
        and torch.compile can take it. For 400 rows and 5 members half as dear as asking all and
        choosing, from 400 rows on.
        """
        rows, chosen = x.reshape(-1, x.shape[-1]), member.reshape(-1, member.shape[-1]) > 0
        blocks = (chosen.sum(0) + block - 1) // block  # of each member
        last = blocks.cumsum(0)
        rank = chosen.cumsum(0) - 1  # among the rows of the same member
        place = torch.where(chosen, (last - blocks) * block + rank, 0).sum(-1)
        count = len(rows) // block + len(blocks)  # is always enough
        owner = torch.searchsorted(last, torch.arange(count, device=x.device), right=True)
        owner = owner.clamp(max=len(blocks) - 1)
        dealt = rows.new_zeros(count * block, rows.shape[-1]).index_copy(0, place, rows)
        y = self._through(dealt.view(count, block, -1), lambda p: p[owner])
        return y.flatten(0, 1)[place].reshape(*x.shape[:-1], -1)

    def _through(self, y: Tensor, use: Callable[[Tensor], Tensor]) -> Tensor:
        """All layers, (K, rows, I) -> (K, rows, O), with K sets of weights that `use` makes."""
        for k in range(len(self.scales)):
            y = torch.baddbmm(use(self.biases[k]), y, use(self.weights[k]))
            y = F.layer_norm(y, y.shape[-1:])
            y = F.silu(y * use(self.scales[k]) + use(self.shifts[k]))
        y = torch.baddbmm(use(self.biases[-1]), y, use(self.weights[-1]))
        return y.to(self.weights[0].dtype)


class SimNorm(nn.Module):
    """Softmax within groups of the embedding (TD-MPC2, Hansen et al. 2024).

    After Lavoie et al. 2023, https://arxiv.org/abs/2204.00616.

    The group axis stands before the last one, not after it as in TD-MPC2: the same simplices,
    but exponentials and sums then run along contiguous memory.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        groups = x.reshape(*x.shape[:-1], self.group, x.shape[-1] // self.group)
        return groups.softmax(-2).flatten(-2)


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|) (Hafner et al. 2023)."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Inverse of `symlog`."""
    return x.sign() * x.abs().expm1()


class TwoHot(nn.Module):
    """A scalar as a distribution over K bins, evenly spaced in symlog.

    As in TD-MPC2 and the first version of DreamerV3; the later one spaces them by symexp.
    """

    bins: Tensor

    def __init__(self, bins: int = 101, limit: float = 10.0) -> None:
        super().__init__()
        self.limit, self.step = limit, 2 * limit / (bins - 1)
        self.register_buffer("bins", torch.linspace(-limit, limit, bins), persistent=False)

    def encode(self, value: Tensor) -> Tensor:
        """(...) -> probabilities (..., K): weight on the two bins around symlog(value)."""
        x = symlog(value).clamp(-self.limit, self.limit).unsqueeze(-1)
        return (1 - (x - self.bins).abs() / self.step).clamp(min=0)

    def decode(self, logits: Tensor) -> Tensor:
        """(..., K) -> expected value (...), the mean taken in symlog."""
        # A sum, not a product: autocast would lower the precision of that.
        return symexp((logits.softmax(-1) * self.bins).sum(-1))

    def loss(self, logits: Tensor, value: Tensor) -> Tensor:
        """Cross-entropy (...) between logits (..., K) and the two-hot code of value (...)."""
        return -(self.encode(value) * logits.log_softmax(-1)).sum(-1)


class Normaliser(nn.Module):
    """Running mean and standard deviation of observations, kept with the weights.

    Batches are merged as in Chan, Golub & LeVeque 1979; Welford 1962 takes in one at a time.
    """

    count: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self, size: int, clip: float = 10.0) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("square", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    shift: Tensor
    scale: Tensor

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Takes in observations (B, D)."""
        x = x.to(torch.float64)
        batch = x.shape[0]
        delta = x.mean(0) - self.mean
        total = self.count + batch
        self.square += ((x - x.mean(0)) ** 2).sum(0) + delta**2 * self.count * batch / total
        self.mean += delta * batch / total
        self.count.copy_(total)
        variance = self.square / self.count
        self.shift.copy_(self.mean)
        # A dimension that has never moved is left at its own scale.
        self.scale.copy_(torch.where(variance > 1e-8, variance.sqrt().clamp(min=1e-4), 1.0))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.shift) / self.scale).clamp(-self.clip, self.clip)

    def inverse(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


@torch.no_grad()
def average(followers: nn.Module, leaders: nn.Module, rate: float) -> None:
    """Exponential moving average: parameters of one module move a fraction towards another's."""
    follow = get_ema_multi_avg_fn(1 - rate)  # type: ignore[no-untyped-call]
    follow(list(followers.parameters()), list(leaders.parameters()), None)
