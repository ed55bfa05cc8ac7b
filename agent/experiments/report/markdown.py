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

    Where not all seeds were that far, the number of those that were stands beside. The last row is
    the mean over the tasks of the DeepMind Control Suite, where it is known of more than one,
    beside the best mean that one published system has over the same tasks, and the number of seeds
    of the task that has the fewest.
    """
    frames = [at for at in frames if any(_known(g, at) for g in groups)]
    yield _row("task", "seeds", *(f"{at // 1000}k" for at in frames), "final", "policy alone")
    yield _row(*["---"] * (len(frames) + 4))
    for g in groups:
        cells = []
        for at in frames:
            published = {
                m: points[at] for m, points in PUBLISHED.get(g.task, {}).items() if at in points
            }
            values = _known(g, at)
            cells.append(_cell(_mean(values), len(values), len(g.runs), published))
        name = f"{g.task} {g.label}".strip()
        seeds = ", ".join(str(run.seed) for run in g.runs)
        yield _row(name, seeds, *cells, _final(g), _share(g))
    suite = [g for g in groups if g.runs[0].of_suite]
    if len(suite) > 1 and len({g.task for g in suite}) == len(suite):
        most = max(len(g.runs) for g in suite)
        cells = []
        for at in frames:
            systems = set.intersection(
                *({m for m, p in PUBLISHED.get(g.task, {}).items() if at in p} for g in suite)
            )
            means = {m: float(np.mean([PUBLISHED[g.task][m][at] for g in suite])) for m in systems}
            found = [_known(g, at) for g in suite]
            mean = _mean([_mean(values) for values in found])
            cells.append(_cell(mean, min(map(len, found)), most, means))
        yield _row(f"mean of {len(suite)} dm_control tasks", "", *cells, "", "")


def settings(runs: Sequence[RunCurve], at: int) -> Iterator[str]:
    """A row for each way of a task to differ from its preset: mean return at frames.

    Those of a task are sorted by what they return. Of the preset itself there are the seeds that
    other settings were run with. Beside it the policy alone, as a share of the planner's return at
    the run's end, and the number of seeds.
    """
    presets = {task: _flat(load_preset(task)) for task in {run.task for run in runs}}
    by_task: dict[str, dict[str, list[RunCurve]]] = {}
    for run in runs:
        label = _difference(run.settings, presets[run.task])
        by_task.setdefault(run.task, {}).setdefault(label, []).append(run)
    yield _row("task", "setting", f"{at // 1000}k frames", "policy alone", "seeds")
    yield _row(*["---"] * 5)
    for task, by_setting in sorted(by_task.items()):
        seeds = {run.seed for label, found in by_setting.items() if label for run in found}
        plain = [run for run in by_setting.pop("", []) if run.seed in seeds]
        found = [Group(task, label, tried) for label, tried in by_setting.items()]
        rows = [(g, values) for g in found if (values := _known(g, at))]
        rows.sort(key=lambda row: -_mean(row[1]))
        the_preset = Group(task, "", plain)
        for g, values in [(the_preset, _known(the_preset, at)), *rows] if rows else []:
            label = f"`{g.label}`" if g.label else "the preset"
            mean = _number(_mean(values)) if values else ""
            yield _row(task, label, mean, _share(g), str(len(g.runs)))


def _difference(settings: Mapping[str, Any], preset: Mapping[str, Any]) -> str:
    """What a run has other than the preset, of the settings that there are still."""
    return " ".join(
        f"{key.removeprefix('agent.')}={value}"
        for key, value in sorted(settings.items())
        if (key in preset or key.startswith("env.kwargs.")) and preset.get(key) != value
    )


def _flat(preset: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a run of the preset as it is, by its dotted name."""
    return dict(dotted(plain(resolve(preset))))


def _known(g: Group, frames: int) -> list[float]:
    """Returns at frames of the group's runs that were that far."""
    values = (float(run.at(np.array([float(frames)]))[0]) for run in g.runs)
    return [value for value in values if not math.isnan(value)]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _cell(value: float, known: int, seeds: int, published: Mapping[str, float]) -> str:
    """A mean over `known` of so many seeds; in brackets the best published, and `known` if less."""
    if math.isnan(value):
        return ""
    beside = []
    if published:
        best = max(published, key=lambda method: published[method])
        beside.append(f"{published[best]:.4g} {best}")
    if known < seeds:
        beside.append(f"{known} seed{'s' if known > 1 else ''}")
    return f"{_number(value)} ({'; '.join(beside)})" if beside else _number(value)


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
