"""Table and figure of `risk.py`, and what is the best that can be done."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from risk_bands import BANDS
from torch import Tensor

from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.experiments.figure import pyplot
from worldplan.envs import EnvConfig, make_env
from worldplan.envs.tasks.gorge import GOAL_REWARD, STEP_REWARD, STRENGTH, Route, outcomes, steer
from worldplan.planners.risk import CVaR, Mean, RiskMeasure, Worst

LEARNED = ("none", "gaussian", "categorical")
SIMULATOR = "simulator"
KINDS = (*LEARNED, SIMULATOR)
RISKS: dict[str, RiskMeasure] = {"mean": Mean(), "cvar": CVaR(), "worst": Worst()}
ROUTES: tuple[Route, ...] = ("bridge", "safe")


def optimum() -> Table:
    """Each way's value by probability and strength of the gust, and the best under each risk."""
    strengths = ((0.2, 1.0), (0.2, 2.0), (0.05, 3.0), (0.2, 3.0), (0.3, 3.0), (0.5, 3.0))
    shown = Table("gust", "m/s", "bridge", "played", "safe", "played", *RISKS, title="optimum")
    for gust, strength in strengths:
        row = [f"{gust:.0%}", f"{strength:g}"]
        for route in ROUTES:
            played = play(route, gust, strength)
            exact = sum(p * r for p, r in outcomes(route, gust, strength))
            error = played.std() / math.sqrt(len(played))
            row += [f"{exact:.3f}", f"{played.mean():.3f} ± {error:.3f}"]
        for risk in RISKS.values():
            value, route = max((score(risk, outcomes_of(r, gust, strength)), r) for r in ROUTES)
            row.append(f"{route} {value:.2f}")
        shown.add_row(*row)
    return shown


def outcomes_of(route: Route, gust: float, strength: float = STRENGTH, count: int = 1000) -> Tensor:
    """Returns (count,) of the best run by a route, each as often as it is probable."""
    return torch.cat(
        [torch.full((round(count * p),), r) for p, r in outcomes(route, gust, strength)]
    )


def score(risk: RiskMeasure, returns: Tensor) -> float:
    return -float(risk(-returns, torch.zeros(1, 1, 0)))  # noise is read by no measure here


def play(route: Route, gust: float, strength: float, episodes: int = 400) -> NDArray[np.float64]:
    """Returns (episodes,) of the simulator, steered by rule."""
    kwargs = {"gust": gust, "strength": strength, "start": 0.0}
    env = make_env(EnvConfig(id="worldplan/Gusts-v0", kwargs=kwargs))
    returns = []
    for seed in held_out_seeds(episodes):
        (x, y, *_), _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            action = np.array([steer(route, float(x), float(y))], np.float32)
            (x, y, *_), reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            over = terminated or truncated
        returns.append(total)
    env.close()
    return np.array(returns)


def chosen(results: list[dict[str, Any]], **which: Any) -> list[dict[str, Any]]:
    return [r for r in results if all(r.get(key) == value for key, value in which.items())]


def table(results: list[dict[str, Any]]) -> Table:
    """Means over seeds, the worst and best seed's behind them, and the optimum's."""
    shown = Table("z", "risk", "seeds", "return", "fell", "bridge", "safe")

    def cell(of: list[dict[str, Any]], key: str, form: str) -> str:
        values = [r[key] for r in of]
        low, high = format(min(values), form), format(max(values), form)
        return f"{format(float(np.mean(values)), form)} ({low} to {high})"

    for kind in KINDS:
        for risk in RISKS:
            if of := chosen(results, kind=kind, risk=risk):
                shares = [cell(of, key, ".0%") for key in ("failed", "bridge", "safe")]
                shown.add_row(kind, risk, str(len(of)), cell(of, "mean", ".2f"), *shares)
    for risk in RISKS:
        _, route, mean, failed = ideal(risk, results[0]["gust"])
        shares = [f"{share:.0%}" for share in (failed, route == "bridge", route == "safe")]
        shown.add_row("optimum", risk, "", f"{mean:.2f}", *shares)
    return shown


def ideal(risk: str, gust: float) -> tuple[float, Route, float, float]:
    """Value under the measure, route, mean return and share of falls of the best way across."""
    value, route = max((score(RISKS[risk], outcomes_of(r, gust)), r) for r in ROUTES)
    ways = outcomes(route, gust)
    failed = ways[1][0] if route == "bridge" else 0.0
    return value, route, sum(p * r for p, r in ways), failed


def draw(results: list[dict[str, Any]], path: Path) -> None:
    plt = pyplot()
    gust = results[0]["gust"]
    colours = dict(zip(KINDS, ("0.55", "C0", "C1", "C2"), strict=True))
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    futures, coverages, shares, returns = axes.flat
    edges = np.linspace(-0.8, 1.2, 41)
    for kind in LEARNED:
        of = [r for r in chosen(results, kind=kind) if "futures" in r]
        if not of:
            continue
        pooled = np.concatenate([r["futures"] for r in of])
        weight = np.full(len(pooled), 1 / len(pooled))
        futures.hist(
            pooled, edges, weights=weight, histtype="step", lw=2, color=colours[kind], label=kind
        )
        for where, style in (("anywhere", "o-"), ("at_gust", "s:")):
            measured = np.mean([r[where] for r in of], 0)
            coverages.plot(BANDS, 100 * measured, style, ms=4, color=colours[kind])
    for probability, value in promised(gust):
        futures.plot(value, probability, "k*", ms=11, zorder=3)
    futures.plot([], [], "k*", ms=11, label="what comes")
    futures.set(
        xlabel="imagined return of going straight on", ylabel="share of futures",
        title=f"Two futures: a gust comes ({gust:.0%}) or not",
    )  # fmt: skip
    futures.legend(frameon=False, title="z")
    coverages.plot([0, 100], [0, 100], "k", lw=0.8)
    for label, style in (("anywhere", "o-"), ("where a gust may come", "s:")):
        coverages.plot([], [], style, ms=4, color="0.3", label=label)
    coverages.legend(frameon=False)
    coverages.set(
        xlabel="band of imagined futures, %", ylabel="of what came, within it, %",
        title="Calibration", xlim=(0, 100), ylim=(0, 100),
    )  # fmt: skip
    bars(shares, results, colours, "bridge", "share of episodes", "Over the bridge; hatched: fell")
    bars(shares, results, colours, "failed", None, None, hatch="////")
    bars(returns, results, colours, "mean", "mean return", "Return; dashes: the optimum")
    for kind, colour in colours.items():
        returns.bar(0, 0, color=colour, alpha=0.75, label=kind)
    returns.legend(frameon=False, title="z", fontsize=8)
    for i, risk in enumerate(RISKS):
        _, route, mean, _ = ideal(risk, gust)
        shares.hlines(route == "bridge", i - 0.42, i + 0.42, "k", "dashed", lw=1.2)
        returns.hlines(mean, i - 0.42, i + 0.42, "k", "dashed", lw=1.2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def promised(gust: float, discount: float = 0.99) -> list[tuple[float, float]]:
    """(probability, return) of both futures of the bridge, discounted as plans are."""
    both = []
    for probability, total in outcomes("bridge", gust):
        goal = total > 0
        decisions = round((total - GOAL_REWARD * goal) / STEP_REWARD)
        steps = sum(STEP_REWARD * discount**k for k in range(decisions))
        both.append((probability, steps + GOAL_REWARD * goal * discount ** (decisions - 1)))
    return both


def bars(
    panel: Any, results: list[dict[str, Any]], colours: dict[str, str], key: str,
    label: str | None, title: str | None, hatch: str = "",
) -> None:  # fmt: skip
    """A group of bars for each risk, one for each z; dots are seeds."""
    for i, risk in enumerate(RISKS):
        for j, kind in enumerate(KINDS):
            values = [r[key] for r in chosen(results, kind=kind, risk=risk)]
            if not values:
                continue
            x = i + 0.21 * (j - 1.5)
            if hatch:
                panel.bar(x, np.mean(values), 0.2, fill=False, hatch=hatch, edgecolor="0.15", lw=0)
                continue
            panel.bar(x, np.mean(values), 0.2, color=colours[kind], alpha=0.75)
            panel.plot([x] * len(values), values, "k.", ms=4)
    panel.set_xticks(range(len(RISKS)), [f"risk={risk}" for risk in RISKS])
    if title is not None:
        panel.set(ylabel=label, title=title)
