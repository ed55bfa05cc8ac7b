"""Bins of observations: their edges, their memory, and decoding to values."""

from pathlib import Path

import torch
from torch import Tensor

from tests.helpers.small_models import rng
from worldplan.agent.models.bins import Bins
from worldplan.agent.training import checkpoint


def seen(x: Tensor, bins: int = 8, **settings: int) -> Bins:
    made = Bins(x.shape[-1], bins, **settings)
    made.update(x)
    return made


def test_edges_are_the_mean_of_equal_counts_and_equal_widths() -> None:
    """The quartiles of 0, 1, 4, 9, 16 are these values; equal widths are 4."""
    made = seen(torch.tensor([[0.0], [1.0], [4.0], [9.0], [16.0]]), bins=4)
    edges = made.inverse(made.edges.T)[:, 0]
    torch.testing.assert_close(edges, torch.tensor([0.0, 2.5, 6.0, 10.5, 16.0]))


def test_a_value_is_in_its_bin_and_decodes_into_it() -> None:
    made = seen(torch.randn(500, 3, generator=rng()) * torch.tensor([1.0, 20.0, 0.01]))
    h = made(torch.randn(200, 3, generator=rng(1)) * torch.tensor([1.0, 20.0, 0.01]))
    tokens = made.tokens(h)
    assert set(tokens.flatten().tolist()) == set(range(8))
    inside = (tokens > 0) & (tokens < 7)  # the outermost bins include values outside the range
    low, high = (made.values(tokens, torch.full_like(h, end)) for end in (0.0, 1.0))
    assert ((low <= h) & (h < high))[inside].all()
    assert torch.equal(high[inside], made.values(tokens + 1 - tokens // 7, 0 * h)[inside])
    for fraction in (0.01, 0.5, 0.99):
        assert torch.equal(made.tokens(made.values(tokens, torch.full_like(h, fraction))), tokens)


def test_values_outside_the_range_and_constant_dimensions_have_bins() -> None:
    made = seen(torch.tensor([[-1.0, 5.0], [0.0, 5.0], [1.0, 5.0]]))
    far = made(torch.tensor([[-9.0, 4.0], [9.0, 6.0]]))
    assert made.tokens(far).tolist() == [[0, 0], [7, 7]]
    assert (made.edges.diff(dim=-1) > 0).all()
    h = made(torch.tensor([[0.0, 5.0]]))
    assert (made.values(made.tokens(h), torch.full_like(h, 0.5)) - h).abs()[0, 1] < 1e-3


def test_values_that_repeat_stay_in_different_bins() -> None:
    values = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 3.0]).unsqueeze(-1)
    made = seen(values.repeat(50, 1))
    tokens = made.tokens(made(torch.tensor([[0.0], [1.0], [3.0]])))
    assert len(set(tokens.flatten().tolist())) == 3


def test_the_memory_covers_all_observations_for_any_batch_size() -> None:
    x = torch.arange(1000.0).unsqueeze(-1)
    at_once, one_by_one = seen(x, memory=16), Bins(1, 8, memory=16)
    for row in x:
        one_by_one.update(row.unsqueeze(0))
    for made in (at_once, one_by_one):
        assert int(made.stride) == 64  # 1000 / 16, up to the next power of two
        assert torch.equal(made.memory[:16, 0], 64 * torch.arange(16.0))
        assert (made.low.item(), made.high.item()) == (0, 999)
    torch.testing.assert_close(at_once.edges, one_by_one.edges)


def test_bins_are_restored_from_a_checkpoint(tmp_path: Path) -> None:
    x = torch.randn(700, 2, generator=rng())
    made, other = seen(x, memory=64), Bins(2, 8, memory=64)
    path = checkpoint.save(tmp_path, 1, made.state_dict(), {})
    other.load_state_dict(checkpoint.read(path)[0])
    for one in (made, other):
        one.update(3 * x[:50])  # and continue in the same way
    h = made(x)
    assert torch.equal(other(x), h)
    assert torch.equal(other.tokens(h), made.tokens(h))
    assert torch.equal(other.edges, made.edges)
