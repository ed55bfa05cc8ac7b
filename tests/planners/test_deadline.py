"""Deadlines, tested with a clock that only the cost moves."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from worldplan.planners import Box, CEMConfig, Plan, make_planner, planner


class SlowCost:
    """Squared distance to 0.3. Each call takes 30 ms of a clock that nothing else moves."""

    def __init__(self) -> None:
        self.now, self.calls = 100.0, 0

    def perf_counter(self) -> float:
        return self.now

    def __call__(self, actions: Tensor, noise: Tensor) -> Tensor:
        self.now += 0.030
        self.calls += 1
        return (actions - 0.3).square().sum((2, 3))[..., None].expand(-1, -1, len(noise))


def plan(
    monkeypatch: pytest.MonkeyPatch, deadline_ms: float | None, **settings: object
) -> tuple[Plan, SlowCost]:
    cost = SlowCost()
    monkeypatch.setattr(planner, "time", SimpleNamespace(perf_counter=cost.perf_counter))
    searching = make_planner(CEMConfig(iterations=5, deadline_ms=deadline_ms, **settings), Box(2))  # type: ignore[arg-type]
    noise = searching.draw_noise(1, 0, torch.Generator().manual_seed(0))
    return searching.plan(cost, searching.initial_state(1), noise)[0], cost


@pytest.mark.parametrize(
    ("deadline_ms", "calls"),
    [(None, 6), (1.0, 1), (29.0, 1), (31.0, 2), (100.0, 4), (140.0, 5), (151.0, 6), (1e6, 6)],
)
def test_no_evaluation_starts_after_the_deadline(
    monkeypatch: pytest.MonkeyPatch, deadline_ms: float | None, calls: int
) -> None:
    """Five iterations and the final mean are six evaluations of 30 ms."""
    _, cost = plan(monkeypatch, deadline_ms)
    assert cost.calls == calls
    if deadline_ms is not None:
        assert cost.now - 100.0 <= 1e-3 * deadline_ms + 0.030 + 1e-9


def test_a_plan_cut_short_is_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    short, cost = plan(monkeypatch, 31.0)
    full, _ = plan(monkeypatch, None)
    assert cost.calls == 2
    torch.testing.assert_close(short.cost, (short.actions - 0.3).square().sum((1, 2)))
    assert short.cost > full.cost


def test_the_deadline_counts_from_the_given_start(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = SlowCost()
    monkeypatch.setattr(planner, "time", SimpleNamespace(perf_counter=cost.perf_counter))
    searching = make_planner(CEMConfig(iterations=5, deadline_ms=100.0), Box(2))
    noise = searching.draw_noise(1, 0, torch.Generator().manual_seed(0))
    searching.search(cost, searching.initial_state(1), noise, began=100.0 - 0.065)
    assert cost.calls == 2
