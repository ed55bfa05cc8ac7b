"""Planning alone: a cost of one line, on NumPy or torch."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray

import worldplan
from worldplan.planners import PLANNERS, Box, CEMConfig, make_planner

FEW: dict[str, Any] = {"iterations": 6, "horizon": 2}
DRAWN_ONCE: dict[str, Any] = {"iterations": 1, "samples": 4000}


def to(target: Any) -> Any:
    """The squared distance of every action to a target."""
    return lambda a: ((a - target) ** 2).sum((1, 2))


@pytest.mark.parametrize("kind", [kind for kind, p in PLANNERS.items() if not p.differentiates])
def test_every_planner_takes_a_line_of_numpy(kind: str) -> None:
    settings = DRAWN_ONCE if kind == "random_shooting" else {}
    target = np.array([3.0, -1.0], np.float32)
    found = worldplan.plan(to(target), low=[0, -2], high=[4, 2], planner=kind, **FEW | settings)
    assert isinstance(found.action, np.ndarray)
    assert found.actions.shape == (2, 2)
    assert np.abs(found.action - target).max() < 0.8
    assert found.cost == pytest.approx(float(to(target)(found.actions[None])[0]), rel=1e-4)


@pytest.mark.parametrize("kind", list(PLANNERS))
def test_every_planner_takes_a_line_of_torch(kind: str) -> None:
    settings = DRAWN_ONCE if kind == "random_shooting" else {}
    found = worldplan.plan(to(0.5), size=1, planner=kind, arrays="torch", **FEW | settings)
    assert isinstance(found.action, torch.Tensor)
    assert abs(found.action - 0.5) < 0.4


def test_gradients_need_torch() -> None:
    with pytest.raises(ValueError, match="expected arrays='torch'"):
        worldplan.plan(to(0.5), planner="gradient")


SPACES: list[tuple[spaces.Space[Any], Any, tuple[int, ...]]] = [
    (spaces.Discrete(3, start=-1), 1, (2,)),
    (spaces.MultiDiscrete([3, 2], start=[-1, 1]), [1, 2], (2, 2)),
    (spaces.MultiBinary(3), [1, 0, 1], (2, 3)),
    (spaces.Box(-2.0, 5.0, (1,)), None, (2, 1)),
]


@pytest.mark.parametrize(("space", "best", "shape"), SPACES, ids=str)
def test_actions_are_as_the_space_has_them(
    space: spaces.Space[Any], best: Any, shape: tuple[int, ...]
) -> None:
    target = np.array(4.0 if best is None else best)

    def cost(a: NDArray[Any]) -> Any:
        assert a.shape == (len(a), *shape)
        return ((a - target) ** 2).reshape(len(a), -1).sum(1)

    found = worldplan.plan(cost, space, **FEW)
    assert found.actions.shape == shape
    if best is None:
        assert found.action in space
    else:
        np.testing.assert_array_equal(found.action, best)


def test_the_next_search_starts_where_this_one_ended() -> None:
    few: dict[str, Any] = {"horizon": 3, "iterations": 2, "size": 1}
    ramp = np.array([[-0.5], [0.0], [0.5]])
    first = worldplan.plan(to(ramp), **few)
    again = worldplan.plan(to(ramp), **few)
    np.testing.assert_array_equal(first.actions, again.actions)
    moved = np.roll(ramp, -1, 0)
    warm = worldplan.plan(to(moved), state=first.state, **few)
    assert warm.cost < worldplan.plan(to(moved), **few).cost


def test_a_cost_may_depend_on_chance() -> None:
    def cost(a: Any, z: Any) -> Any:
        """Whatever exceeds 0.5, with noise as large as the action, is ruin."""
        assert z.shape == (200, 2, 1)
        reached = a[:, None] * (1 + 0.3 * z)
        return (np.where(reached > 0.5, 20.0, 0.0) - reached).sum((2, 3))

    few: dict[str, Any] = {"latent_dim": 1, "latent_samples": 200, "size": 1, **FEW}
    mean = worldplan.plan(cost, **few)
    worst = worldplan.plan(cost, risk="worst", **few)
    assert 0 < worst.action[0] < mean.action[0]
    assert mean.spread > 0


def test_a_planner_of_ones_own() -> None:
    own = make_planner(CEMConfig(horizon=2, iterations=5), Box(1))
    found = worldplan.plan(to(0.5), planner=own)
    assert abs(found.action[0] - 0.5) < 0.3
    with pytest.raises(ValueError, match="expected no horizon"):
        worldplan.plan(to(0.5), planner=own, horizon=3)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"planner": "cen"}, "Did you mean 'cem'"),
        ({"horizn": 3}, "Did you mean 'horizon'"),
        ({"horizon": 0}, "horizon: Input should be greater than or equal to 1, got 0"),
        ({"elites": 100}, "must not exceed samples"),
        ({"low": 1.0, "high": 0.0}, "low below high"),
        ({"high": math.inf}, "finite bounds"),
        ({"low": [0, 0], "high": [1, 1, 1]}, "expected a vector"),
        ({"space": spaces.Text(3)}, "a space of vectors or of choices"),
        ({"space": spaces.Box(0, 1, (2, 2))}, "expected a vector"),
        ({"cost": lambda a: a.sum()}, r"expected costs \(64,\) of sequences, got \(\)"),
        ({"cost": lambda a: a.sum((1, 2)), "arrays": "list"}, "'numpy' or 'torch'"),
    ],
)
def test_mistakes_are_one_line(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        worldplan.plan(**{"cost": to(0.5), **how})
    assert "\n" not in str(error.value)
