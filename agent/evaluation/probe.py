"""Probes: how well known quantities can be decoded from the features of a trained model.

Shapes: N rows, F features, K targets, ... any leading shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldplan.agent.models.networks import MLP, Normaliser

_WIDTH, _LAYERS = 128, 2
_UPDATES, _BATCH, _CHECK = 2000, 256, 100
_BLOCKS = 20  # of consecutive rows; two are held out for r2, two for early stopping


class Probe(nn.Module):
    """Features (..., F) -> targets (..., K) in their own units; what `fit_probe` returns.

    Its weights get no gradients. Its input does: a cost may be computed through it.
    """

    r2: float  # share of variance explained in held-out rows; below 0: worse than the mean

    def __init__(self, features: int, targets: int) -> None:
        super().__init__()
        self.features, self.targets = Normaliser(features), Normaliser(targets)
        self.net = MLP(features, targets, _WIDTH, _LAYERS, zero_output=True)

    def forward(self, features: Tensor) -> Tensor:
        return self.targets.inverse(self.net(self.features(features)))


def fit_probe(features: Tensor, targets: Tensor, seed: int = 0) -> Probe:
    """Fits a small MLP that decodes targets (N, K) from features (N, F).

    No gradient flows into the model. The same seed gives the same probe, and the global random
    state does not change.

    A tenth of the rows is held out for `r2`: 1 - squared error / squared distance from the mean of
    the fitted rows, averaged over the targets that vary. Another tenth is for early stopping. Both
    are blocks of consecutive rows: neighbours in time are alike, and would leak into the test.

    Raises:
        ValueError: shapes that do not fit, fewer than 100 rows, a number that is not finite, or
            targets of which none varies.
    """
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        raise ValueError(
            "expected features (N, F) and targets (N, K), got "
            f"{tuple(features.shape)} and {tuple(targets.shape)}"
        )
    if len(features) < 100:
        raise ValueError(f"a probe needs at least 100 rows, got {len(features)}")
    x, y = features.detach().float(), targets.detach().float()
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("expected finite features and targets, got NaN or infinity among them")

    generator = torch.Generator().manual_seed(seed)
    block = torch.arange(len(x)) * _BLOCKS // len(x)
    place = torch.randperm(_BLOCKS, generator=generator)[block]
    held, stop, fit = place < 2, (place >= 2) & (place < 4), place >= 4

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = Probe(x.shape[1], y.shape[1])
    probe.features.update(x[fit])
    probe.targets.update(y[fit])
    _fit(probe, x[fit], y[fit], x[stop], y[stop], generator)
    probe.requires_grad_(False)

    distance = (y[held] - probe.targets.shift).square().sum(0)
    varies = probe.targets.varies & (distance > 0)
    if not varies.any():
        raise ValueError(f"none of the {y.shape[1]} targets varies: there is nothing to fit")
    error = (y[held] - probe(x[held])).square().sum(0)
    probe.r2 = float((1 - error / distance)[varies].mean())
    return probe


@torch.enable_grad()
def _fit(
    probe: Probe, x: Tensor, y: Tensor, x_stop: Tensor, y_stop: Tensor, generator: torch.Generator
) -> None:
    """Adam on the squared error of standardised targets, with early stopping at x_stop."""
    x, x_stop, y, y_stop = (
        normalise(u)
        for normalise, u in (
            (probe.features, x),
            (probe.features, x_stop),
            (probe.targets, y),
            (probe.targets, y_stop),
        )
    )
    optimizer = torch.optim.Adam(probe.net.parameters(), lr=2e-3)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _UPDATES)
    least, best = float("inf"), probe.net.state_dict()
    for update in range(_UPDATES + 1):
        if update % _CHECK == 0:
            with torch.no_grad():
                error = float(F.mse_loss(probe.net(x_stop), y_stop))
            if error < least:
                least = error
                best = {k: v.clone() for k, v in probe.net.state_dict().items()}
        rows = torch.randint(len(x), (_BATCH,), generator=generator)
        loss = F.mse_loss(probe.net(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        slower.step()
    probe.net.load_state_dict(best)
