"""About how much memory a run takes, before it is taken.

Estimates are of the numbers that networks compute, within a factor of two; `tests` compare them
with PyTorch's own. What a run needs besides, as its environments, is not in them.

Shapes: B plans at once, R rows imagined side by side, T horizon.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from worldplan.agent.agent import AgentConfig
from worldplan.agent.config.run import RunConfig
from worldplan.envs import EnvironmentSpec

_FLOAT = 4  # bytes
# Weights in training: those that act, those that learn, two moments of Adam, gradients, and while
# these are summed over time, gradients again.
_COPIES = 6
_KEPT = 3  # numbers that autograd keeps for each that a layer gives: its product, norm, activation
_GIB = 2**30


def require(
    config: RunConfig,
    spec: EnvironmentSpec,
    device: torch.device,
    *,
    plans: int,
    training: bool = False,
) -> None:
    """Checks that a decision for `plans` environments at once fits in memory, and an update.

    Raises:
        ValueError: it needs more than is free; the message says how much, and for what.
    """
    free = available(device)
    needed = estimate(config.agent, spec, plans=plans, training=training)
    total = needed["weights"] + max(needed["a decision"], needed["an update"])
    if free is None or total <= free:
        return
    most = max(needed, key=needed.__getitem__)
    parts = ", ".join(f"{part} {size / _GIB:,.1f}" for part, size in needed.items() if size)
    raise ValueError(
        f"this needs about {total / _GIB:,.1f} GiB of memory ({parts}), and {free / _GIB:,.1f} GiB "
        f"are free on {device}; expected smaller {_SETTINGS[most]}"
    )


_SETTINGS = {
    "weights": "agent.model or agent.heads: width, layers, embedding",
    "a decision": "planner.samples, planner.latent_samples, planner.horizon, num_envs or episodes",
    "an update": "learner.batch_size, learner.horizon, model.context or model.width",
}


def estimate(
    agent: AgentConfig, spec: EnvironmentSpec, *, plans: int, training: bool
) -> dict[str, int]:
    """Bytes of the weights, and of what a decision and an update compute."""
    size = agent.model.size(spec)
    if agent.model.learns:
        size += agent.heads.size(size, spec.action.size)
    weights = size.weights * (_COPIES if training else 1)
    update = 0
    if training:
        c = agent.learner
        steps = size.context + c.horizon + c.imagination
        update = _KEPT * c.batch_size * steps * size.hidden
    p, action = agent.planner, spec.action.size
    candidates = plans * (p.samples + p.kept + agent.proposals)
    row = size.hidden + (p.horizon + 1) * (size.kept + 2 * action)
    decision = candidates * (p.latent_samples * row + p.horizon * action * p.iterations)
    return {
        "weights": _FLOAT * weights,
        "a decision": _FLOAT * decision,
        "an update": _FLOAT * update,
    }


def available(device: torch.device) -> int | None:
    """Bytes that are free on the device; None if the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [size for size in (_of_system(), _of_container()) if size is not None]
    return min(found, default=None)


def _of_system() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(x for x in lines if x.startswith("MemAvailable")).split()[1])
    except (OSError, StopIteration, ValueError):
        pass
    try:  # not Linux: what there is in all
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _of_container() -> int | None:
    """What a container's limit leaves (control groups, version 2)."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())  # "max" without a limit
        return max(0, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        return None
