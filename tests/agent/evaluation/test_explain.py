"""Explained plans, against numbers worked out by hand."""

import math

import pytest
import torch

from worldplan.agent.evaluation.explain import explanation
from worldplan.planners.plan import Plan, PlanStats


def test_an_explanation_by_hand() -> None:
    # Two futures of two steps, rewards 1 and 2 or 3 and 6, then a value of 10 or 20: the scores are
    # 13 and 29. The risk measure is the worst future.
    plan = Plan(
        actions=torch.zeros(1, 2, 1),
        cost=torch.tensor([-13.0]),
        spread=torch.tensor([8.0]),
        std=torch.zeros(1, 2, 1),
        failed=torch.tensor([False]),
        stats=PlanStats(
            best=torch.tensor([[-9.0], [-13.0]]),
            elite_mean=torch.tensor([[-5.0], [-12.0]]),
            std_mean=torch.tensor([[0.5], [0.25]]),
        ),
        items=-torch.tensor([[[1.0, 2, 10], [3, 6, 20]]]),
    )
    found = explanation(plan, iterations=3)
    assert math.isnan(found.pop("search_best_2"))  # cut off by a deadline
    assert math.isnan(found.pop("search_elite_mean_2"))
    assert math.isnan(found.pop("search_std_2"))
    assert found == pytest.approx(
        {
            "predicted_return": 13, "score_0": 2, "score_1": 4, "terminal_value": 15, "risk": -8,
            "spread": 8, "search_best_0": 9, "search_best_1": 13, "search_elite_mean_0": 5,
            "search_elite_mean_1": 12, "search_std_0": 0.5, "search_std_1": 0.25,
        }
    )  # fmt: skip
