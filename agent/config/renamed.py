"""Settings of older versions: other names, and what was so before it was a setting."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

RENAMED = {
    "agent.average": "agent.ema_rate",
    "agent.learner.batch": "agent.learner.batch_size",
    "agent.learner.clip": "agent.learner.grad_clip_norm",
    "agent.learner.decay": "agent.learner.rho",
    "agent.learner.target_rate": "agent.learner.tau",
}
# What settings are called in other programs.
ELSEWHERE = {
    "total_timesteps": "steps",
    "timesteps": "steps",
    "num_steps": "steps",
    "lr": "learning_rate",
    "gamma": "discount",
    "name": "kind",
    "n_envs": "num_envs",
    "utd": "updates_per_step",
    "utd_ratio": "updates_per_step",
    "gradient_steps": "updates_per_step",
    "buffer_size": "replay.capacity",
    "num_samples": "planner.samples",
}
# What runs did before there was the setting, where today's default is something else.
BEFORE = {"agent.noise_min_std": 0.0}


def present_name(key: str) -> str:
    """The name of a setting as it is now; warns if it was another."""
    if key not in RENAMED:
        return key
    old, new = (
        name.removeprefix("agent.") if name.count(".") > 1 else name for name in (key, RENAMED[key])
    )
    warnings.warn(f"the setting {old} is called {new} now", FutureWarning, stacklevel=2)
    return RENAMED[key]


def modernised(saved: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings of a run that an older version saved, under the names of today."""
    found = {}
    for name, value in saved.items():
        key = f"{above}{name}"
        last = RENAMED[key].rpartition(".")[2] if key in RENAMED else name
        found[last] = modernised(value, f"{key}.") if isinstance(value, Mapping) else value
    return found
