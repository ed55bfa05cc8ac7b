"""What came of a search: its trials, the best first, and the command that trains the best one."""

from __future__ import annotations

import csv
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldplan.agent.data.atomic import written_whole
from worldplan.agent.evaluation.shown import shown
from worldplan.agent.experiments.tune.search import Plan
from worldplan.agent.experiments.tune.trial import trial_dir

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Tried:
    """One trial of a search."""

    number: int
    state: str  # complete, pruned, fail (its settings were refused) or running
    value: float  # of the objective, of a pruned trial as it was then; NaN: unknown
    final: float  # mean return of the final evaluation; NaN: there was none
    values: Mapping[str, Any]  # by setting
    run_dir: Path  # a run as any other, if it was trained


def tried(study: optuna.Study, out: Path) -> list[Tried]:
    """All trials, finished ones first, and the best of these first."""
    found = []
    for one in study.get_trials(deepcopy=False):
        run_dir, final = trial_dir(out, one.number), math.nan
        if (result := run_dir / "result.json").exists():
            final = float(json.loads(result.read_text())["mean"])
        value = math.nan if one.value is None else one.value
        state = one.state.name.lower()
        found.append(Tried(one.number, state, value, final, one.params, run_dir))
    return sorted(found, key=lambda t: (t.state != "complete", math.isnan(t.value), -t.value))


def say(rows: Sequence[Tried], most: int = 10) -> list[str]:
    """The best trials, a line each."""
    lines = []
    for row in rows[:most]:
        final = "" if math.isnan(row.final) else f"final {shown(row.final)}"
        value = "-" if math.isnan(row.value) else shown(row.value)
        lines.append(
            f"{row.number:>5}  {row.state:8}  {value:>8}  {final:14}  " + " ".join(_words(row))
        )
    return lines


def best_command(plan: Plan, best: Tried) -> str:
    """What trains with the settings of a trial."""
    task = plan.base["task"]
    named = [task] if plan.preset else ["--env", task]
    return shlex.join(["worldplan", "train", *named, *plan.fixed, *_words(best)])


def write_csv(rows: Sequence[Tried], path: Path) -> None:
    """Writes all trials."""
    lines = [
        {"trial": r.number, "state": r.state, "value": r.value, "final": r.final, **r.values}
        for r in rows
    ]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    with written_whole(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _words(row: Tried) -> list[str]:
    return [f"{name}={value}" for name, value in row.values.items()]
