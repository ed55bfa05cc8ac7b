"""Learning curves of many runs: mean and band over seeds, and one number over tasks.

Letters: G runs (seeds) of one task and one setting, N frames at which curves are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from omegaconf import OmegaConf

from worldplan.agent.config.names import dotted
from worldplan.agent.config.reading import reading
from worldplan.agent.config.renamed import BEFORE, modernised
from worldplan.agent.config.run import RunConfig
from worldplan.agent.config.saved import plain
from worldplan.agent.evaluation.shown import shown
from worldplan.agent.evaluation.statistics import bootstrap_ci, iqm_of_columns
from worldplan.agent.experiments.report.published import PUBLISHED
from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.hub import DEMO
from worldplan.envs import EnvConfig

Floats = npt.NDArray[np.float64]

_LARGEST = 1000.0  # return of a perfect episode, in all tasks of the DeepMind Control Suite
_SUITE = "dm_control/"
# Settings by which runs of one task are told apart: what is learned from, and how.
_TELLING = (
    *("agent.", "env.", "collectors", "num_envs"),
    *("replay.recency", "seed_steps", "updates_per_step"),
)


@dataclass(frozen=True)
class RunCurve:
    """One run: its learning curve, the episodes it collected, and how it ended."""

    path: Path
    task: str
    seed: int
    settings: dict[str, Any]  # of `_TELLING`, dotted
    frames: Floats  # (N,) of the evaluations
    returns: Floats  # (N,)
    episodes: tuple[Floats, Floats]  # frames and returns while exploring
    result: dict[str, Any] | None  # None: not finished
    last: dict[str, float]  # last row of curve.csv, and of diagnostics.csv where there is one

    @property
    def of_suite(self) -> bool:
        """Whether it counts among dm_control's tasks; seen as pictures they are a suite apart."""
        of_numbers = self.settings["env.observe"] == "observation"
        return of_numbers and str(self.settings["env.id"]).startswith(_SUITE)

    def at(self, frames: Floats) -> Floats:
        """Returns at frames, on straight lines between evaluations; NaN outside of them.

        A run that stopped because its task was solved stays solved.
        """
        solved = self.result is not None and self.result["solved"]
        right = self.returns[-1] if solved else np.nan
        found: Floats = np.interp(frames, self.frames, self.returns, left=np.nan, right=right)
        return found


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed."""

    task: str
    label: str  # what sets it apart from the task's other groups; "" where there are none
    runs: list[RunCurve]

    def band(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Frames (N,) where all runs are known, mean and 95% bootstrap band (N,) there."""
        frames = np.unique(np.concatenate([run.frames for run in self.runs]))
        values = np.stack([run.at(frames) for run in self.runs])
        known = ~np.isnan(values).any(0)
        frames, values = frames[known], values[:, known]
        ends = [bootstrap_ci(column) for column in values.T]
        low, high = np.array(ends).reshape(-1, 2).T
        return frames, values.mean(0), low, high


def find_runs(places: Iterable[Path]) -> list[RunCurve]:
    """All runs in the folders, which may be runs themselves; those without an evaluation are left.

    Raises:
        FileNotFoundError, ValueError: a folder is not there, or holds no run's curve.
    """
    runs = []
    for place in places:
        if not place.exists():
            demo = str(place).startswith(DEMO)
            raise FileNotFoundError(f"no run at {place}{'; a demo has no curve' * demo}")
        here = [run for path in sorted(place.rglob("curve.csv")) for run in _read(path.parent)]
        if not here:
            raise ValueError(
                f"{place} holds no run with an evaluation: expected curve.csv and config.yaml in "
                "it or in folders below it"
            )
        runs += here
    return runs


def _read(folder: Path) -> Iterator[RunCurve]:
    """One run, if it has been evaluated."""
    with reading(folder):
        yield from _read_undamaged(folder)


def _read_undamaged(folder: Path) -> Iterator[RunCurve]:
    curve = read_curve(folder / "curve.csv")
    if not curve:
        return
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    if not isinstance(config, dict) or not isinstance(config["task"], str):
        raise ValueError("its config.yaml holds no settings of a run")
    flat = _completed(dict(dotted(modernised({str(k): v for k, v in config.items()}))))
    latent = "agent.model.latent."
    if flat.get(latent + "kind") == "none":  # how z is trained says nothing then
        flat = {k: v for k, v in flat.items() if k == latent + "kind" or not k.startswith(latent)}
    per_step = curve[0]["frames"] / curve[0]["step"]
    episodes = read_curve(folder / "episodes.csv")
    result, diagnostics = folder / "result.json", folder / "diagnostics.csv"
    yield RunCurve(
        folder,
        config["task"],
        int(config["seed"]),
        {key: value for key, value in flat.items() if key.startswith(_TELLING)},
        np.array([row["frames"] for row in curve]),
        np.array([row["return"] for row in curve]),
        (
            per_step * np.array([episode["step"] for episode in episodes]),
            np.array([episode["return"] for episode in episodes]),
        ),
        json.loads(result.read_text()) if result.exists() else None,
        curve[-1] | (read_curve(diagnostics)[-1] if diagnostics.exists() else {}),
    )


def _completed(saved: dict[str, Any]) -> dict[str, Any]:
    """Dotted settings, and those that are younger than the run as they were then."""
    env = EnvConfig(id=saved["env.id"])
    today = dict(dotted(plain(RunConfig(task=saved["task"], env=env)))) | BEFORE
    kinds = [key for key in today if key.endswith(".kind")]
    # Of another kind of model or planner today's default says nothing.
    others = [key.removesuffix("kind") for key in kinds if saved.get(key) != today[key]]
    known = {k: v for k, v in today.items() if not k.startswith(tuple(others))} | saved
    numbers = {k for k, v in today.items() if not isinstance(v, bool)}
    return {k: _number(v) if k in numbers else v for k, v in known.items()}


def _number(value: Any) -> Any:
    """One form of each number: what is a share now was true or false, and 0 is not 0.0 in YAML."""
    whole = isinstance(value, bool | int | float) and value == int(value)
    return int(value) if whole else value


def group(runs: Sequence[RunCurve]) -> list[Group]:
    """Runs of one task and one setting together, sorted by task.

    Raises:
        ValueError: two runs of one group have the same seed: one of them is given twice.
    """
    groups = []
    for task in sorted({run.task for run in runs}):
        here = [run for run in runs if run.task == task]
        keys = sorted({key for run in here for key in run.settings})
        differing = [k for k in keys if len({repr(run.settings.get(k)) for run in here}) > 1]
        by_label: dict[str, list[RunCurve]] = {}
        for run in here:
            short = (
                f"{key.removeprefix('agent.')}={run.settings[key]}"
                for key in differing
                if key in run.settings
            )
            by_label.setdefault(" ".join(short), []).append(run)
        for label, members in by_label.items():
            seeds = [run.seed for run in members]
            for run in members:
                if seeds.count(run.seed) > 1:
                    twins = ", ".join(str(r.path) for r in members if r.seed == run.seed)
                    raise ValueError(f"seed {run.seed} of {task} is there twice: {twins}")
            groups.append(Group(task, label, sorted(members, key=lambda run: run.seed)))
    return groups


def over_tasks(groups: Sequence[Group]) -> tuple[Floats, Floats, Floats, Floats] | None:
    """IQM over tasks and seeds of return / 1000, with its 95% band, where all runs are known.

    Seeds are drawn anew within each task (stratified, Agarwal et al. 2021). Of the DeepMind
    Control Suite alone, where a perfect episode gives 1000; None without two tasks of it, or where
    tasks come in several settings.
    """
    suite = [g for g in groups if g.runs[0].of_suite]
    if len(suite) < 2 or len({g.task for g in suite}) < len(suite):
        return None
    runs = [run for g in suite for run in g.runs]
    frames = np.unique(np.concatenate([run.frames for run in runs]))
    tasks = [np.stack([run.at(frames) for run in g.runs]) / _LARGEST for g in suite]
    known = ~np.isnan(np.concatenate(tasks)).any(0)
    if not known.any():
        return None
    frames, tasks = frames[known], [values[:, known] for values in tasks]
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(1000):
        again = [values[rng.integers(len(values), size=len(values))] for values in tasks]
        draws.append(iqm_of_columns(np.concatenate(again)))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    middle = iqm_of_columns(np.concatenate(tasks))
    return frames, middle, low, high


def say(groups: Sequence[Group]) -> Iterator[str]:
    """The table, a line each: curve at some frames, the final evaluation, published returns."""
    for i, g in enumerate(groups):
        frames, mean, _, _ = g.band()
        places = np.unique(np.linspace(0, len(frames) - 1, min(10, len(frames))).astype(int))
        at = ", ".join(f"{frames[n] / 1000:g}k: {_rounded(mean[n])}" for n in places)
        yield f"{g.task} {g.label}".strip() + f", seeds {', '.join(str(r.seed) for r in g.runs)}"
        yield f"    mean return at frames  {at or 'none in common'}"
        for run in g.runs:
            if run.result is None:
                yield f"    seed {run.seed}: not finished, {run.frames[-1] / 1000:g}k frames so far"
                continue
            low, high = run.result["ci95"]
            yield (
                f"    seed {run.seed}: final {shown(run.result['mean'])} "
                f"(IQM {shown(run.result['iqm'])}, 95% {shown(low)} to {shown(high)}, "
                f"{len(run.result['returns'])} episodes) after {run.result['frames'] / 1000:g}k "
                f"frames, {run.result['total_seconds'] / 60:.0f} min"
            )
            if not math.isnan(run.last["policy_return"]):
                yield f"        {_of_policy(run.last)}"
        more = i + 1 < len(groups) and groups[i + 1].task == g.task
        for method, points in () if more else PUBLISHED.get(g.task, {}).items():
            text = ", ".join(f"{at / 1000:g}k: {value:g}" for at, value in points.items())
            yield f"    {method}  {text}"
    overall = over_tasks(groups)
    if overall is not None:
        rows = zip(*overall, strict=True)
        text = ", ".join(f"{f / 1000:g}k: {m:.3f} ({lo:.3f} to {hi:.3f})" for f, m, lo, hi in rows)
        yield f"IQM over tasks of return / {_LARGEST:g}  {text}"


def _rounded(value: float) -> str:
    """As `shown`, without decimals where there are digits enough before them."""
    return f"{value:.0f}" if 10 <= abs(value) < 1e7 else shown(value)


def _of_policy(last: dict[str, float]) -> str:
    """How the policy alone compares with the planner, and what the value thinks of actions."""
    text = f"policy alone {shown(last['policy_return'])}"
    if last["return"] > 0:
        share = last["policy_return"] / last["return"]
        text += f", {share:.0%} of the planner's {shown(last['return'])}"
    if "saturated" in last:
        text += f"; {last['saturated']:.0%} of its actions saturated"
    if "q_executed" in last:
        text += (
            f"; value of executed actions {last['q_executed']:.4g}, of the policy's "
            f"{last['q_policy']:.4g}, of random ones {last['q_random']:.4g}; optimism after 8 "
            f"steps {last['optimism_8']:.3g}"
        )
    return text
