"""What the heads learn on tiny known problems, and the return that the policy climbs."""

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import (
    LATENTS,
    make,
    rng,
    stir,
    train,
    window,
)
from worldplan.agent.data.batch import Batch
from worldplan.agent.models.world_model import imagine_step

CHAIN = torch.tensor([1.0, -2.0, 3.0])


def chain(generator: torch.Generator) -> Batch:
    """Three places in a row, seen one-hot, with rewards CHAIN; the last step ends it."""
    at = torch.randint(0, 3, (64, 1), generator=generator) + torch.arange(4)
    x = torch.eye(4)[at.clamp(max=3)]  # the fourth place is where it has ended
    here, valid = at[:, :3].clamp(max=2), at[:, :3] < 3
    a = (2 * torch.rand(64, 3, 1, generator=generator) - 1) * valid[..., None]
    return Batch(x, a, CHAIN[here] * valid, (at[:, :3] == 2).float(), valid)


def test_heads_learn_a_chain_that_ends() -> None:
    learner = make(*(4, 1), horizon=3, learning_rate=3e-3, tau=0.1, reward=1.0, value=1.0, rho=1.0)
    train(learner, chain, 250)
    model, heads = learner.model, learner.heads
    h = model.encode(torch.eye(4)[:3])
    f, a = model.features(h, model.initial_state(h)), torch.zeros(3, 1)
    reward, go_on = heads.outcomes(f, h[:, :0], a)
    torch.testing.assert_close(heads.code.decode(reward), CHAIN, atol=0.15, rtol=0)
    assert (go_on.sigmoid() > 0.9).tolist() == [True, True, False]
    assert go_on[2].sigmoid() < 0.1
    # 3, then -2 + 0.9 * 3, then 1 + 0.9 * 0.7: nothing comes after the end.
    value = heads.code.decode(heads.values(f, a))
    expected = torch.tensor([1.63, 0.7, 3.0]).expand(2, 3)
    torch.testing.assert_close(value, expected, atol=0.2, rtol=0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_policy_climbs_the_value(sign: int) -> None:
    """One place, one step, and a reward of a or -a."""

    def draw(generator: torch.Generator) -> Batch:
        a = 2 * torch.rand(64, 1, 1, generator=generator) - 1
        ends = torch.ones(64, 1)
        return Batch(torch.zeros(64, 2, 1), a, sign * a[..., 0], ends, ends > 0)

    learner = make(1, 1, learning_rate=3e-3, value=1.0)
    noise = torch.randn(100, 1, generator=rng())

    def actions() -> Tensor:
        f = learner.model.encode(torch.zeros(100, 1))
        return learner.heads.act(f, noise)[0].detach()

    assert actions().mean().abs() < 0.2
    train(learner, draw, 60)
    assert sign * actions().mean() > 0.7


def test_a_policy_in_imagination_climbs_the_return() -> None:
    """A line: x' = x + a / 2, and a reward of -x' ** 2, which a policy brings to x = 0."""

    def draw(generator: torch.Generator) -> Batch:
        x = 2 * torch.rand(128, 1, generator=generator) - 1
        a = 2 * torch.rand(128, 1, generator=generator) - 1
        after = x + a / 2
        return window(torch.stack([x, after], 1), a.unsqueeze(1), -after.square())

    learner = make(1, 1, imagination=2, learning_rate=3e-3, value=1.0, reward=1.0)
    train(learner, draw, 300)
    x = torch.linspace(-0.4, 0.4, 9).unsqueeze(-1)
    action = learner.heads.act(learner.model.encode(x), torch.zeros_like(x))[0].detach()
    torch.testing.assert_close(action, -2 * x, atol=0.25, rtol=0)


@pytest.mark.parametrize("kind", list(LATENTS))
def test_the_imagined_return_by_hand(kind: str) -> None:
    """Two steps of the policy in the model, added up backwards."""
    learner = make(3, 2, {"latent": LATENTS[kind], "context": 3}, imagination=2)
    stir(learner.model)
    stir(learner.heads)
    m, heads, code = learner.model, learner.heads, learner.heads.code
    h = m.encode(torch.randn(5, 3, generator=rng())).detach()
    s = m.initial_state(h)
    noise = torch.randn(2, 5, m.noise_dim, generator=rng(1))
    pi_noise = torch.randn(3, 5, 2, generator=rng(2))
    value, log_prob = learner._imagine(h, s, noise, pi_noise)

    steps, log_probs = [], []
    for t in range(2):
        f = m.features(h, s)
        a, p = heads.act(f, pi_noise[t])
        h, s, z = imagine_step(m, h, s, a, noise[t])
        reward, go_on = heads.outcomes(f, z, a)
        steps.append((code.decode(reward), 0.9 * go_on.sigmoid()))
        log_probs.append(p)
    f = m.features(h, s)
    a, p = heads.act(f, pi_noise[2])
    (r0, g0), (r1, g1) = steps
    end = code.decode(heads.values(f, a)).mean(0)
    torch.testing.assert_close(value, r0 + g0 * (r1 + g1 * end))
    torch.testing.assert_close(log_prob, (log_probs[0] + log_probs[1] + p) / 3)
    # The policy learns from it, and nothing else.
    value.sum().backward()  # type: ignore[no-untyped-call]
    moved = {k for k, q in [*m.named_parameters(), *heads.named_parameters()] if q.grad is not None}
    assert moved == {f"policy.{k}" for k, _ in heads.policy.named_parameters()}


def ring(generator: torch.Generator) -> Batch:
    """Three places in a circle, a reward of 1 forever; half of the windows are cut short."""
    at = torch.randint(0, 3, (64, 1), generator=generator) + torch.arange(4)
    valid = torch.arange(3) < torch.randint(1, 4, (64, 1), generator=generator)
    last = valid.sum(1, keepdim=True)
    x = torch.eye(3)[(at[:, :1] + torch.arange(4).minimum(last)) % 3]
    a = (2 * torch.rand(64, 3, 1, generator=generator) - 1) * valid[..., None]
    return Batch(x, a, valid.float(), torch.zeros(64, 3), valid)


def test_value_of_a_reward_forever_is_its_geometric_sum_in_spite_of_time_limits() -> None:
    learner = make(3, 1, horizon=3, learning_rate=3e-3, tau=0.5, value=1.0)
    train(learner, ring, 300)
    model, heads = learner.model, learner.heads
    h = model.encode(torch.eye(3))
    f = model.features(h, model.initial_state(h))
    value = heads.code.decode(heads.values(f, torch.zeros(3, 1)))
    torch.testing.assert_close(value, torch.full((2, 3), 10.0), atol=1.0, rtol=0)
    _, go_on = heads.outcomes(f, h[:, :0], torch.zeros(3, 1))
    assert (go_on.sigmoid() > 0.95).all()
