"""Plans explained: what a decision's plan predicts, and how the search for it went.

Shapes: B plans, M latent samples, T horizon, I iterations.
"""

from __future__ import annotations

import math

from torch import Tensor

from worldplan.planners import Plan


def explanation(plan: Plan | None, iterations: int) -> dict[str, float]:
    """Figures of the first of B plans, by name. Costs become scores: the higher, the better.

    Args:
        plan: made with `explain=True`, see `PlanningActor`.
        iterations: of the planner's configuration. Those that a deadline cut off are NaN.

    Returns:
        predicted_return: the score of the plan after the risk measure. All `score_K`,
            `terminal_value` and `risk` sum to it, up to rounding.
        score_K: what the decision K steps ahead adds, from 0 to T-1, mean over M: the discounted
            predicted reward, or minus the distance to a goal, or minus a user's cost.
        terminal_value: discounted value after the horizon, mean over M; 0 for a goal, for a cost
            and for a simulator.
        risk: what the risk measure adds to the mean over M; 0 for the risk measure `mean`.
        spread: standard deviation of the score over M.
        search_best_K, search_elite_mean_K: best and mean score of the elites of iteration K.
        search_std_K: mean standard deviation of the distribution fitted to them.
    """
    assert plan is not None, "the actor plans"
    assert plan.stats is not None, "the plan was made with explain=True"
    assert plan.items is not None, "every objective has items"
    stats = plan.stats
    *scores, after = (0 - plan.items[0].double().mean(0)).tolist()  # never -0.0
    predicted = -float(plan.cost[0])
    searched = {"best": -stats.best, "elite_mean": -stats.elite_mean, "std": stats.std_mean}
    return {
        "predicted_return": predicted,
        **{f"score_{k}": score for k, score in enumerate(scores)},
        "terminal_value": after,
        "risk": predicted - math.fsum([*scores, after]),
        "spread": float(plan.spread[0]),
        **{
            f"search_{name}_{k}": value
            for name, values in searched.items()
            for k, value in enumerate(_filled(values, iterations))
        },
    }


def _filled(values: Tensor, iterations: int) -> list[float]:
    """Of the first plan in (I, B), with NaN up to so many iterations."""
    found: list[float] = values[:, 0].tolist()
    return found + [math.nan] * (iterations - len(found))
