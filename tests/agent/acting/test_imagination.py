"""Costs of imagined futures, by hand arithmetic in a world simple enough for it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from worldplan.agent.acting.distance import GoalDistance
from worldplan.agent.acting.imagination import side_by_side
from worldplan.agent.acting.objective import LearnedReturn, TrueReturn
from worldplan.agent.models.latent import Gaussian, LatentDistribution
from worldplan.agent.models.world_model import ImaginedTrajectory, imagine
from worldplan.planners import TrajectoryCost


class Walk:
    """s(t+1) = s + a + z in one dimension: h is the observation, z ~ N(0, 0.5^2). The heads see
    (s, 10 s)."""

    context = 1
    embedding_dim = latent_dim = noise_dim = 1
    feature_dim = 2

    def encode(self, x: Tensor) -> Tensor:
        return x

    def initial_state(self, h: Tensor) -> Tensor:
        return h

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        return s + a + z

    def expect(self, s: Tensor) -> Tensor:
        return s

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        return Gaussian(torch.zeros_like(s), torch.full_like(s, 0.5))

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        raise AssertionError("nobody knows what comes next when imagining")

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        raise AssertionError("nothing is observed when imagining")

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return torch.cat([s, 10 * s], -1)


class Code:
    def decode(self, logits: Tensor) -> Tensor:
        return logits[..., 0]


class StubHeads:
    """Reward s + 2z + a; the chance to go on is 0.25 below 2, else 0.5; the values of the policy's
    action 3 are s + 3 and s + 5."""

    code = Code()

    def outcomes(self, f: Tensor, z: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        chance = torch.where(f[..., 0] < 2, 0.25, 0.5)
        return f[..., :1] + 2 * z + a, torch.logit(chance)

    def act(self, f: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return 3 + 100 * noise, noise[..., 0]

    def values(self, f: Tensor, a: Tensor) -> Tensor:
        value = f[..., :1] + a
        return torch.stack([value, value + 2])


MODEL = Walk()
HEADS: Any = StubHeads()
RETURN = LearnedReturn(HEADS, 0.9)


def one_row(*numbers: float) -> Tensor:
    """(T, 1, 1)."""
    return torch.tensor(numbers)[:, None, None]


def test_imagination_by_hand() -> None:
    x = torch.tensor([[1.0]])
    future = imagine(MODEL, x, x, one_row(2, 0, -1), one_row(0, 2, -4))
    assert future.h.flatten().tolist() == [1, 3, 4, 1]
    assert future.features[:, 0].tolist() == [[1, 10], [3, 30], [4, 40], [1, 10]]
    assert future.z.flatten().tolist() == [0, 1, -2]
    assert future.actions.flatten().tolist() == [2, 0, -1]


def test_learned_return_by_hand() -> None:
    x = torch.tensor([[1.0]])
    future = imagine(MODEL, x, x, one_row(2, 0), one_row(0, 2))
    # s: 1, 3, 4. Rewards 1 + 0 + 2 and 3 + 2 + 0; going on 0.25, then 0.5; value (7 + 9) / 2.
    expected = 3 + 0.9 * 0.25 * (5 + 0.9 * 0.5 * 8)
    assert RETURN(future).tolist() == pytest.approx([expected])
    items = [3, 0.9 * 0.25 * 5, 0.9 * 0.25 * 0.9 * 0.5 * 8]
    assert RETURN.items(future).flatten().tolist() == pytest.approx(items)


def test_the_policy_acts_on_after_the_plan_and_depths_are_averaged() -> None:
    x = torch.tensor([[1.0]])
    future = imagine(MODEL, x, x, one_row(2, 0), one_row(0, 2))
    deep = LearnedReturn(HEADS, 0.9, model=MODEL, depths=2)
    # s: 4, 7, 10 by the policy's 3 and z of 0. Rewards 4 + 3 and 7 + 3; values s + 4.
    found = [8, 7 + 0.45 * 11, 7 + 0.45 * (10 + 0.45 * 14)]
    expected = 3 + 0.9 * 0.25 * (5 + 0.9 * 0.5 * sum(found) / 3)
    assert deep(future).tolist() == pytest.approx([expected])
    assert deep.items(future).sum().tolist() == pytest.approx(expected)


def test_learned_return_without_a_terminal_value_ends_with_the_horizon() -> None:
    x = torch.tensor([[1.0]])
    future = imagine(MODEL, x, x, one_row(2, 0), one_row(0, 2))
    without = LearnedReturn(HEADS, 0.9, terminal=False)
    assert without(future).tolist() == pytest.approx([3 + 0.9 * 0.25 * 5])
    assert without.items(future).flatten().tolist() == pytest.approx([3, 0.9 * 0.25 * 5, 0])


def test_learned_return_of_rows_does_not_mix_them() -> None:
    generator = torch.Generator().manual_seed(0)
    a, noise = torch.randn(2, 3, 5, 1, generator=generator).unbind()
    x = torch.randn(5, 1, generator=generator)
    together = RETURN(imagine(MODEL, x, x, a, noise))
    assert together.shape == (5,)
    for r in range(5):
        row = slice(r, r + 1)
        future = imagine(MODEL, x[row], x[row], a[:, row], noise[:, row])
        torch.testing.assert_close(together[row], RETURN(future))


def test_learned_return_of_no_steps_is_the_value() -> None:
    here = torch.tensor([[[2.0, 20.0]]])
    nothing = ImaginedTrajectory(here[..., :1], here, torch.zeros(0, 1, 1), torch.zeros(1, 1, 1))
    # One action is there for its shape; no step is imagined.
    future = ImaginedTrajectory(nothing.h, nothing.features, nothing.z, nothing.actions)
    assert RETURN(future).tolist() == [6.0]


B, N, M, T = 2, 3, 4, 5


def test_side_by_side_orders_rows_by_plan_candidate_and_latent_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    h, s = torch.randn(B, 6, generator=generator), torch.randn(B, 7, generator=generator)
    actions = torch.randn(B, N, T, 2, generator=generator)
    noise = torch.randn(M, T, 3, generator=generator)
    hs, ss, a, e = side_by_side(h, s, actions, noise)
    assert (hs.shape, ss.shape) == ((B * N * M, 6), (B * N * M, 7))
    assert (a.shape, e.shape) == ((T, B * N * M, 2), (T, B * N * M, 3))
    rows = torch.arange(B * N * M).view(B, N, M)
    for b in range(B):
        for n in range(N):
            for m in range(M):
                r = int(rows[b, n, m])
                assert torch.equal(hs[r], h[b])
                assert torch.equal(ss[r], s[b])
                assert torch.equal(a[:, r], actions[b, n])
                assert torch.equal(e[:, r], noise[m])


def test_side_by_side_without_latent_noise() -> None:
    _, _, a, e = side_by_side(
        torch.zeros(B, 1), torch.zeros(B, 1), torch.zeros(B, N, T, 2), torch.zeros(1, T, 0)
    )
    assert (a.shape, e.shape) == ((T, B * N, 2), (T, B * N, 0))


def goal_cost(goal: list[list[float]], x: Tensor) -> TrajectoryCost:
    """Of the walk to the goal (B, 1), as the agent makes it."""

    def cost(actions: Tensor, noise: Tensor) -> Tensor:
        future = imagine(MODEL, *side_by_side(x, x, actions, noise))
        score = GoalDistance(torch.tensor(goal), torch.eye(1))(future)
        return -score.view(*actions.shape[:2], len(noise))

    return cost


def test_goal_distance_sums_over_the_horizon() -> None:
    x = torch.tensor([[0.0], [10.0]])
    actions = torch.tensor([[[1.0, 1.0], [3.0, 0.0]]]).expand(2, 2, 2)[..., None]
    noise = torch.tensor([[0.0, 0.0], [2.0, -2.0]])[..., None]  # z: 0, 0 and 1, -1
    cost = goal_cost([[3.0], [10.0]], x)(actions, noise)
    # Plan 0 walks 1, 2 or 3, 3 (with z 2, 2 or 4, 3) to 3; plan 1 away from 10 likewise.
    expected = [[[4 + 1, 1 + 1], [0, 1]], [[1 + 4, 4 + 4], [9 + 9, 16 + 9]]]
    assert cost.tolist() == expected
    one_for_all = goal_cost([[3.0]], x)(actions, noise)
    assert one_for_all[0].tolist() == expected[0]
    assert one_for_all[1].tolist() == [[64 + 81, 81 + 81], [100 + 100, 121 + 100]]


def test_what_a_goals_score_adds_up() -> None:
    x = torch.tensor([[0.0]])
    imagined = imagine(MODEL, x, x, one_row(1, 1), one_row(0, 0))
    objective = GoalDistance(torch.tensor([[3.0]]), torch.eye(1))
    assert objective.items(imagined).flatten().tolist() == [-4, -1, 0]
    assert objective(imagined).tolist() == [-5]


def test_true_return_by_hand() -> None:
    x = torch.zeros(3, 1, 1)
    reward = torch.tensor([[2.0], [4.0]], dtype=torch.float64)
    imagined = ImaginedTrajectory(x, x, x[1:], x[1:], reward)
    assert TrueReturn(0.5)(imagined).tolist() == [2 + 0.5 * 4]
    assert TrueReturn(0.5).items(imagined).flatten().tolist() == [2, 2, 0]
