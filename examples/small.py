"""What the examples share: `python examples/risk.py --quick` runs small, to see that it runs."""

import sys
from typing import Any

QUICK = "--quick" in sys.argv
EPISODES = 1 if QUICK else 10
_NETWORKS = {
    "heads": {"width": 16, "outcome_width": 16, "bins": 21},
    "learner": {"batch_size": 16},
    "model": {"width": 16},
    "planner": {"samples": 16, "elites": 4, "iterations": 2, "horizon": 3},
}
_RUN = {"steps": 48, "seed_steps": 40, "eval_interval": 48, "eval_episodes": 1, "final_episodes": 1}


def settings(**full: Any) -> dict[str, Any]:
    """Settings of a training run; smaller ones with --quick."""
    if not QUICK:
        return full
    small = {**_RUN, **_NETWORKS, "eval_max_steps": 10, "compile": "off", "threads": 1}
    found = {**full, **small}
    for name, value in full.items():
        if isinstance(value, dict):
            found[name] = {**value, **found.get(name, {})}
    return found
