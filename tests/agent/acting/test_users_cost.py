"""Costs that users write, of any real type; see `Agent.minimise`."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.acting_agents import agent, observations


def acted(cost: Any, decode: Any, **planner: Any) -> Any:
    a = agent(**planner)
    a.minimise(cost, decode)
    return [a.act(x) for x in observations(2)]


def first(f: Any) -> Any:
    return f[..., :3]


@pytest.mark.parametrize(
    ("cost", "decode"),
    [
        (lambda x: (x.double() ** 2).sum(-1), first),
        (lambda x: np.square(x.numpy()).sum(-1), first),
        (lambda x: np.square(np.asarray(x, np.float64)).sum(-1), first),
        (lambda x: (x**2).sum(-1), lambda f: first(f).double()),
        (lambda x: (x**2).sum(-1), lambda f: first(f).numpy()),
        (lambda x: (x**2).sum(-1).tolist(), first),
    ],
    ids=["float64", "numpy", "numpy64", "decoded64", "decoded numpy", "list"],
)
def test_a_cost_of_any_real_type_plans_the_same(cost: Any, decode: Any) -> None:
    expected = acted(lambda x: (x**2).sum(-1), first)
    np.testing.assert_allclose(acted(cost, decode), expected, atol=1e-5)


def test_whole_numbers_are_a_cost() -> None:
    assert np.isfinite(acted(lambda x: x[..., 0] > 0, first)).all()


@pytest.mark.parametrize(
    ("cost", "decode", "message"),
    [
        (lambda x: x[..., 0] + 0j, first, "cost must return real numbers, not torch.complex64"),
        (lambda x: x, first, r"the cost must return \(T, R\)"),
        (lambda x: x.mean(), first, r"the cost must return \(T, R\)"),
        (lambda x: x[..., 0], lambda f: f[0], r"decode must return \(T, R, D\)"),
        (lambda x: x[..., 0], lambda f: f.transpose(0, 1), r"decode must return \(T, R, D\)"),
    ],
)
def test_what_is_no_cost_is_answered(cost: Any, decode: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        acted(cost, decode)


def test_a_gradient_needs_operations_of_torch() -> None:
    def cost(x: torch.Tensor) -> Any:
        return np.square(x.numpy()).sum(-1)

    with pytest.raises(ValueError, match="cost gets a tensor on cpu with gradients, which"):
        acted(cost, first, kind="gradient")
