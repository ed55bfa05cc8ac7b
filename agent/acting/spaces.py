"""The action space that planners and policies search, of an environment's actions."""

from __future__ import annotations

from worldplan.envs import ActionSpec
from worldplan.planners import ActionSpace, Box, Categorical


def action_space(spec: ActionSpec) -> ActionSpace:
    """Vectors of numbers, or choices."""
    return Box(spec.size) if spec.choices is None else Categorical(spec.choices)
