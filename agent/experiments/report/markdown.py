"""Results as Markdown tables: tasks beside published figures, and settings beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from worldplan.agent.config.names import dotted
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset
from worldplan.agent.config.saved import plain
from worldplan.agent.experiments.report.curves import Group, RunCurve
from worldplan.agent.experiments.report.published import PUBLISHED

FRAMES = (25_000, 50_000, 100_000)  # at which systems are compared


def results(groups: Sequence[Group], frames: Sequence[int] = FRAMES) -> Iterator[str]:
    """A row a task: mean over seeds at some frames, beside the best published figure there.

    The last row is the mean over the tasks of the DeepMind Control Suite, where it is known of
    more than one, beside the best mean that one published system has over the same tasks.
    """
    frames = [at for at in frames if any(not math.isnan(_at(g, at)) for g in groups)]
    yield _row("task", "seeds", *(f"{at // 1000}k" for at in frames), "final", "policy alone")
    yield _row(*["---"] * (len(frames) + 4))
    for g in groups:
        cells = []
        for at in frames:
            known = {
                m: points[at] for m, points in PUBLISHED.get(g.task, {}).items() if at in points
            }
            cells.append(_beside(_at(g, at), known))
        name = f"{g.task} {g.label}".strip()
        seeds = ", ".join(str(run.seed) for run in g.runs)
        yield _row(name, seeds, *cells, _final(g), _share(g))
    suite = [g for g in groups if g.runs[0].of_suite]
    if len(suite) > 1 and len({g.task for g in suite}) == len(suite):
        cells = []
        for at in frames:
            systems = set.intersection(
                *({m for m, p in PUBLISHED.get(g.task, {}).items() if at in p} for g in suite)
            )
            means = {m: np.mean([PUBLISHED[g.task][m][at] for g in suite]) for m in systems}
            cells.append(_beside(float(np.mean([_at(g, at) for g in suite])), means))
        yield _row(f"mean of {len(suite)} dm_control tasks", "", *cells, "", "")


def settings(runs: Sequence[RunCurve], at: int) -> Iterator[str]:
    """A row for each way to differ from the preset, a column for each task; returns at frames.

    Of the preset itself, the seeds that other settings were run with. In brackets the policy
    alone, as a share of the planner's return at the run's end, and the number of seeds where there
    are more than one.
    """
    presets = {task: _flat(load_preset(task)) for task in {run.task for run in runs}}
    by_setting: dict[str, dict[str, list[RunCurve]]] = {"": {}}
    for run in runs:
        there = by_setting.setdefault(_difference(run.settings, presets[run.task]), {})
        there.setdefault(run.task, []).append(run)
    plain = by_setting.pop("")
    tried = {
        (run.task, run.seed) for tasks in by_setting.values() for g in tasks.values() for run in g
    }
    tasks = sorted({task for task, _ in tried})
    by_setting = {
        "": {task: [r for r in plain.get(task, []) if (task, r.seed) in tried] for task in tasks}
    } | by_setting
    yield _row(f"return at {at // 1000}k frames", *tasks)
    yield _row(*["---"] * (len(tasks) + 1))
    for label, there in sorted(by_setting.items()):
        cells = []
        for task in tasks:
            g = Group(task, label, there.get(task, []))
            value = _at(g, at)
            more = [_share(g), *([f"{len(g.runs)} seeds"] if len(g.runs) > 1 else [])]
            cells.append("" if math.isnan(value) else f"{_number(value)} ({', '.join(more)})")
        yield _row(f"`{label}`" if label else "the preset", *cells)


def _difference(settings: Mapping[str, Any], preset: Mapping[str, Any]) -> str:
    """What a run has other than the preset, of the settings that both have."""
    return " ".join(
        f"{key.removeprefix('agent.')}={value}"
        for key, value in sorted(settings.items())
        if key in preset and preset[key] != value
    )


def _flat(preset: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a run of the preset as it is, by its dotted name."""
    return dict(dotted(plain(resolve(preset))))


def _at(g: Group, frames: int) -> float:
    """Mean return of the group at frames; NaN where a run was not that far, or there is none."""
    values = [float(run.at(np.array([float(frames)]))[0]) for run in g.runs]
    return float(np.mean(values)) if values else math.nan


def _beside(value: float, published: Mapping[str, Any]) -> str:
    if math.isnan(value):
        return ""
    if not published:
        return _number(value)
    best = max(published, key=lambda method: published[method])
    return f"{_number(value)} ({published[best]:.4g} {best})"


def _final(g: Group) -> str:
    return ", ".join("" if run.result is None else _number(run.result["mean"]) for run in g.runs)


def _share(g: Group) -> str:
    """The policy's return as a share of the planner's, at the last evaluation, mean over seeds."""
    pairs = [(run.last["policy_return"], run.last["return"]) for run in g.runs]
    if not pairs or any(math.isnan(policy) or planner <= 0 for policy, planner in pairs):
        return "-"
    return f"{np.mean([policy / planner for policy, planner in pairs]):.0%}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
