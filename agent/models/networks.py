"""Building blocks: MLP, ensemble of MLPs, SimNorm, two-hot code, normaliser, moving average.

Shapes: ... any leading shape, B batch, D observation, I inputs, O outputs, W width, E ensemble
members, K bins, N sets of weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

M = TypeVar("M", bound=nn.Module)

# All activations are SiLU. TD-MPC2 uses Mish, which takes several times as long on a CPU. Whether
# Mish learns better was not tested.


class MLP(nn.Sequential):
    """Hidden layers of Linear, LayerNorm and SiLU, then a linear layer."""

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
        """(..., I) -> (..., O), in the dtype of the weights even under autocast."""
        dtype = next(self.parameters()).dtype
        for module in self:
            x = module(x)
        return x.to(dtype)


class EnsembleMLP(nn.Module):
    """E MLPs with the same input; each layer is one batched product."""

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

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (E, ..., O)."""
        rows = x.reshape(1, -1, x.shape[-1]).expand(self.weights[0].shape[0], -1, -1)
        y = self._layers(rows, lambda p: p)
        return y.reshape(-1, *x.shape[:-1], y.shape[-1])

    def of_one(self, x: Tensor, member: Tensor, block: int = 32) -> Tensor:
        """Evaluates one member for each row: (..., I), one-hot members (..., E) -> (..., O).

        Rows are sorted into blocks, each for one member, so that shapes do not depend on the
        members and torch.compile can compile it. From 400 rows on, with 5 members, it takes half
        the time of evaluating all members and selecting.
        """
        rows, chosen = x.reshape(-1, x.shape[-1]), member.reshape(-1, member.shape[-1]) > 0
        blocks = (chosen.sum(0) + block - 1) // block  # of each member
        last = blocks.cumsum(0)
        rank = chosen.cumsum(0) - 1  # among the rows of the same member
        place = torch.where(chosen, (last - blocks) * block + rank, 0).sum(-1)
        count = len(rows) // block + len(blocks)  # upper bound of the number of blocks
        owner = torch.searchsorted(last, torch.arange(count, device=x.device), right=True)
        owner = owner.clamp(max=len(blocks) - 1)
        padded = rows.new_zeros(count * block, rows.shape[-1]).index_copy(0, place, rows)
        y = self._layers(padded.view(count, block, -1), lambda p: p[owner])
        return y.flatten(0, 1)[place].reshape(*x.shape[:-1], -1)

    def _layers(self, y: Tensor, use: Callable[[Tensor], Tensor]) -> Tensor:
        """All layers, (N, rows, I) -> (N, rows, O); `use` makes N sets of weights from E."""
        for k in range(len(self.scales)):
            y = torch.baddbmm(use(self.biases[k]), y, use(self.weights[k]))
            y = F.layer_norm(y, y.shape[-1:])
            y = F.silu(y * use(self.scales[k]) + use(self.shifts[k]))
        y = torch.baddbmm(use(self.biases[-1]), y, use(self.weights[-1]))
        return y.to(self.weights[0].dtype)


class _Call(nn.Module):
    """A function of a module as the `forward` of another one."""

    def __init__(self, function: Callable[..., Any], module: nn.Module) -> None:
        super().__init__()
        self.function, self.module = function, module

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self.module, *inputs)


def frozen(function: Callable[..., Any], module: nn.Module) -> Callable[..., Any]:
    """`function` of the module and tensors, with gradients for the tensors and not the weights.

    So a policy can climb what a model and a value predict without training them.
    """
    call = _Call(function, module)

    def run(*inputs: Tensor) -> Any:
        weights = {name: p.detach() for name, p in call.named_parameters()}
        return torch.func.functional_call(call, weights, inputs)

    return run


class SimNorm(nn.Module):
    """Softmax within groups of the embedding (TD-MPC2, Hansen et al. 2024).

    After Lavoie et al. 2023, https://arxiv.org/abs/2204.00616.

    The group axis is the second to last, not the last as in TD-MPC2. This only permutes the
    dimensions of the embedding; exponentials and sums then run along contiguous memory.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        groups = x.reshape(*x.shape[:-1], self.group, x.shape[-1] // self.group)
        return groups.softmax(-2).flatten(-2)


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|) (DreamerV3: Hafner et al. 2023, https://arxiv.org/abs/2301.04104)."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Inverse of `symlog`."""
    return x.sign() * x.abs().expm1()


# Relative rounding of float32, and what sums of float64 leave of numbers that cancel.
_FLOAT32_ROUNDING, _NOISE = torch.finfo(torch.float32).eps, 1e-13


class TwoHot(nn.Module):
    """Two-hot code: a scalar as a distribution over K bins that are evenly spaced in symlog.

    As in TD-MPC2 and the first version of DreamerV3; its later version spaces bins by symexp.
    """

    bins: Tensor

    def __init__(self, bins: int = 101, limit: float = 10.0) -> None:
        super().__init__()
        self.limit, self.step = limit, 2 * limit / (bins - 1)
        self.register_buffer("bins", torch.linspace(-limit, limit, bins), persistent=False)

    def encode(self, value: Tensor) -> Tensor:
        """Value (...) -> probabilities (..., K), on the two bins around symlog(value)."""
        x = symlog(value).clamp(-self.limit, self.limit).unsqueeze(-1)
        return (1 - (x - self.bins).abs() / self.step).clamp(min=0)

    def decode(self, logits: Tensor) -> Tensor:
        """Logits (..., K) -> value (...), symexp of the mean over the bins."""
        # A sum and not a matrix product, of which autocast would lower the precision.
        return symexp((logits.softmax(-1) * self.bins).sum(-1))

    def loss(self, logits: Tensor, value: Tensor) -> Tensor:
        """Cross-entropy (...) between logits (..., K) and the two-hot code of value (...)."""
        return -(self.encode(value) * logits.log_softmax(-1)).sum(-1)


_WITHOUT_FLOAT64 = {"mps"}  # types of devices


def widest(device: torch.device) -> torch.dtype:
    """In which statistics are kept: float64 where the device has it."""
    return torch.float32 if device.type in _WITHOUT_FLOAT64 else torch.float64


def placed(module: M, device: torch.device) -> M:
    """The module on a device, with statistics as precise as they are kept there."""
    if widest(device) == torch.float32:
        module.float()
    return module.to(device)


_AT_ONCE = 2**24  # numbers that are added to the statistics at a time, as float64
_SHADES = 32.0


class Normaliser(nn.Module):
    """Running mean and standard deviation of observations, kept with the weights.

    Batches are merged as in Chan, Golub & LeVeque 1979. The unit and the origin of a dimension do
    not matter, as far as float32 can carry its values. A dimension that has been constant so far
    is not scaled. Of pictures the mean is taken off and no more, so that what moves stands out from
    what does not; 32 of their 256 shades are 1.
    """

    count: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self, size: int, clip: float = 10.0, numbers: Tensor | None = None) -> None:
        """Of D = `size` dimensions; `numbers` (D,) bool: which are none of a picture's bytes."""
        super().__init__()
        self.clip = clip
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("square", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        picture = torch.zeros(size, dtype=torch.bool) if numbers is None else ~numbers
        self.register_buffer("picture", picture, persistent=False)

    shift: Tensor
    scale: Tensor
    picture: Tensor  # (D,) whether it is a picture's

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Adds observations (B, D) to the statistics."""
        for rows in torch.split(x, max(1, _AT_ONCE // x.shape[1])):
            self._add(rows.to(self.mean.dtype))
        self.shift.copy_(self.mean)
        self.scale.copy_(torch.where(self.varies, self.std, 1.0))
        self.scale[self.picture] = _SHADES

    def _add(self, x: Tensor) -> None:
        batch = x.shape[0]
        delta = x.mean(0) - self.mean
        total = self.count + batch
        self.square += ((x - x.mean(0)) ** 2).sum(0) + delta**2 * self.count * batch / total
        self.mean += delta * batch / total
        self.count.copy_(total)

    @property
    def std(self) -> Tensor:
        """Standard deviations so far (D,), float64 but for `widest`."""
        return (self.square / self.count).sqrt()

    @property
    def varies(self) -> Tensor:
        """Whether a dimension (D,) has varied so far, by more than numbers are rounded."""
        return self.std > (_FLOAT32_ROUNDING * self.mean.abs()).clamp(min=_NOISE)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises observations (..., D) and clips them to [-clip, clip]."""
        return ((x - self.shift) / self.scale).clamp(-self.clip, self.clip)

    def inverse(self, x: Tensor) -> Tensor:
        """Inverse of `forward` (..., D), without the clipping."""
        return x * self.scale + self.shift


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that has NaN or infinity in it; None if there is none."""
    return next((name for name, value in tensors.items() if not value.isfinite().all()), None)


@torch.no_grad()
def update_ema(followers: nn.Module, leaders: nn.Module, rate: float) -> None:
    """Exponential moving average (EMA): followers = (1 - rate) * followers + rate * leaders."""
    update = get_ema_multi_avg_fn(1 - rate)  # type: ignore[no-untyped-call]
    update(list(followers.parameters()), list(leaders.parameters()), None)


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
