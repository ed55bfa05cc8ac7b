"""The table of a comparison, and tests of the difference that the action variable makes."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldplan.agent.data.atomic import written_whole
from worldplan.agent.evaluation.statistics import nested_ci, permutation_test
from worldplan.agent.experiments.compare.grid import Trial
from worldplan.agent.experiments.compare.measure import HORIZONS
from worldplan.agent.experiments.compare.trial import MEASURES

# Figures of a trial that are averaged over seeds, as `measure` names them.
AVERAGED = (
    "decision_ms",
    *(f"error_{t}_{space}" for space in "xh" for t in HORIZONS if t or space == "x"),
    "action_sensitivity",
    "information",
)


@dataclass(frozen=True)
class Row:
    """One family with one planner on one task, over G seeds."""

    task: str
    family: str
    planner: str
    kind: str  # of world model; families of one kind differ only in a, or in their settings
    uses_action: bool
    steps: int
    returns: list[list[float]]  # G times the episodes of the final evaluation
    policy: list[list[float]]
    random: list[list[float]]
    chance: list[list[float]]  # of the constant-cost baseline
    measures: dict[str, float]  # `AVERAGED`

    @property
    def mean(self) -> float:
        return float(np.mean(self.seed_means))

    @property
    def seed_means(self) -> list[float]:
        return [float(np.mean(episodes)) for episodes in self.returns]

    @property
    def interval(self) -> tuple[float, float]:
        """95%, over seeds and the episodes of each."""
        return nested_ci(self.returns)


@dataclass(frozen=True)
class Pair:
    """One kind of world model with a and without; the planner and all else are the same."""

    planner: str
    kind: str
    with_action: str  # family
    without_action: str  # family
    by_task: dict[str, float]  # p, episodes being exchanged
    overall: float  # p, seeds being exchanged within each task


def collect(trials: Sequence[Trial]) -> list[Row]:
    """The rows of all trials that are done, in their order of task, family and planner."""
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in trials:
        if trial.done:
            groups.setdefault((trial.task, trial.family, trial.planner), []).append(trial)
    rows = []
    for (task, family, planner), group in groups.items():
        results = [json.loads((c.run_dir / "result.json").read_text()) for c in group]
        measures = [json.loads((c.run_dir / MEASURES).read_text()) for c in group]
        rows.append(
            Row(
                *(task, family, planner, group[0].config.agent.model.kind),
                uses_action=measures[0]["uses_action"],
                steps=group[0].config.steps,
                returns=[result["returns"] for result in results],
                policy=[m["policy"] for m in measures],
                random=[m["random"] for m in measures],
                chance=[m["chance"] for m in measures],
                measures={name: float(np.mean([m[name] for m in measures])) for name in AVERAGED},
            )
        )
    return rows


def pair_up(rows: Sequence[Row]) -> list[Pair]:
    """Tests of the difference that the action variable makes, wherever both are there."""
    pairs: dict[tuple[str, str, str, str], dict[str, tuple[Row, Row]]] = {}
    for one in (row for row in rows if row.uses_action):
        for other in (row for row in rows if not row.uses_action):
            alike = ("task", "planner", "kind")
            if all(getattr(one, name) == getattr(other, name) for name in alike):
                key = (one.planner, one.kind, one.family, other.family)
                pairs.setdefault(key, {})[one.task] = (one, other)
    return [
        Pair(
            *key,
            by_task={
                task: permutation_test((_flat(one.returns), _flat(other.returns)))
                for task, (one, other) in tasks.items()
            },
            overall=permutation_test(
                *((one.seed_means, other.seed_means) for one, other in tasks.values())
            ),
        )
        for key, tasks in pairs.items()
    ]


def table(rows: Sequence[Row], pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """One line a row, as written to CSV.

    `p_without_a` tests the returns against the same kind of model without a, `p_chance` against the
    constant-cost baseline. Both are permutation tests that exchange episodes, so they are about
    these trained agents only.
    """
    against = {
        (task, pair.with_action, pair.planner): p
        for pair in pairs
        for task, p in pair.by_task.items()
    }
    lines = []
    for row in rows:
        low, high = row.interval
        lines.append(
            {
                "task": row.task, "family": row.family, "planner": row.planner,
                "uses_action": row.uses_action, "steps": row.steps, "seeds": len(row.returns),
                "episodes": sum(map(len, row.returns)),
                "return": row.mean, "low": low, "high": high,
                **{w: float(np.mean(getattr(row, w))) for w in ("policy", "random", "chance")},
                "p_without_a": against.get((row.task, row.family, row.planner), float("nan")),
                "p_chance": permutation_test((_flat(row.returns), _flat(row.chance))),
                **row.measures,
            }
        )  # fmt: skip
    return lines


def write_csv(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the table."""
    with written_whole(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def say_p(p: float) -> str:
    """A p as it is written in text."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _flat(groups: Sequence[Sequence[float]]) -> list[float]:
    return [value for group in groups for value in group]
