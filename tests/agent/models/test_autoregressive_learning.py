"""The autoregressive family learns a known Markov chain."""

import math

import pytest
import torch
from torch import Tensor

from tests.helpers.models.tokens import SMALL, learn
from tests.helpers.small_models import rng
from worldplan.agent.models.autoregressive import Autoregressive, AutoregressiveConfig
from worldplan.envs import EnvironmentSpec

# Learning


def chain(p: Tensor, steps: int, seed: int, order: int = 1) -> Tensor:
    """A sequence (steps,) of states; each depends on the one `order` steps before."""
    uniform, top = torch.rand(steps, generator=rng(seed)).tolist(), p.cumsum(-1).tolist()
    states = [0] * order
    for t in range(order, steps):
        row = top[states[t - order]]
        states.append(next((j for j, c in enumerate(row) if uniform[t] < c), len(row) - 1))
    return torch.tensor(states)


VALUES = torch.tensor([-1.0, 0.5, 4.0])
P = torch.tensor([[0.1, 0.6, 0.3], [0.45, 0.05, 0.5], [0.8, 0.2, 0.0]])


def windows(states: Tensor, context: int) -> Tensor:
    """All windows (context + 1, N, 1) of a sequence of states."""
    return VALUES[states].unfold(0, context + 1, 1).T.unsqueeze(-1)


def trained_on(states: Tensor, context: int = 1, updates: int = 150) -> Autoregressive:
    torch.manual_seed(0)
    config = AutoregressiveConfig.model_validate({**SMALL, "bins": 8, "context": context})
    m, x = Autoregressive(config, EnvironmentSpec.vectors(1, 1)), windows(states, context)
    m.normaliser.update(x[0])
    optimizer = torch.optim.Adam(m.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, updates)
    for _ in range(updates):
        optimizer.zero_grad()
        learn(m, x, torch.zeros(context, x.shape[1], 1)).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return m


@torch.no_grad()
def cross_entropy(m: Autoregressive, states: Tensor) -> float:
    x = windows(states, m.context)
    return float(learn(m, x, torch.zeros(m.context, x.shape[1], 1)).loss)


def stationary(p: Tensor) -> Tensor:
    many: Tensor = torch.linalg.matrix_power(p, 100)
    return many[0]


@torch.no_grad()
def test_a_markov_chain_is_learned_to_within_sampling_error() -> None:
    steps = 4000
    with torch.enable_grad():
        m = trained_on(chain(P, steps, seed=0))
    pi = stationary(P)
    tokens = m.normaliser.tokens(m.encode(VALUES.unsqueeze(-1)))  # (3, 1)
    p = m.language.logits(tokens.unsqueeze(1), torch.zeros(3, 1, 0), tokens).exp()[:, 0]
    learned = p[:, tokens[:, 0]]
    # Four standard errors of the frequency, and a margin for training.
    error = 4 * (P * (1 - P) / (steps * pi).unsqueeze(-1)).sqrt() + 0.005
    assert ((learned - P).abs() < error).all(), learned
    # The same with samples: p(state 2 | state 1).
    h = m.encode(VALUES[1].expand(4000, 1))
    z = torch.randn(4000, 1, generator=rng(1))
    reached = m.normaliser.tokens(m.expect(m.predict(h, h, z, torch.zeros(4000, 1))))
    assert float((reached == tokens[2]).float().mean()) == pytest.approx(0.5, abs=0.06)

    # The entropy rate, in nats, is the lowest possible cross-entropy.
    entropy = float((pi.unsqueeze(-1) * torch.special.entr(P)).sum())
    log_p = torch.where(P > 0, P.log(), 0)
    spread = float(((pi.unsqueeze(-1) * P * log_p**2).sum() - entropy**2).sqrt())
    assert cross_entropy(m, chain(P, steps, seed=1)) == pytest.approx(
        entropy, abs=4 * spread / math.sqrt(steps) + 0.005
    )


def test_a_longer_context_learns_a_second_order_chain() -> None:
    """The next state depends on the one before the last, which is independent of the last.

    The tolerance is four standard errors.
    """
    states, fresh = chain(P, 2000, 0, order=2), chain(P, 2000, 1, order=2)
    pi = stationary(P)
    rate = float((pi.unsqueeze(-1) * torch.special.entr(P)).sum())
    blind = float(torch.special.entr(pi).sum())
    assert cross_entropy(trained_on(states, 1, 60), fresh) == pytest.approx(blind, abs=0.05)
    assert cross_entropy(trained_on(states, 2), fresh) == pytest.approx(rate, abs=0.05)
