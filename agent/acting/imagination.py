"""Costs of imagined futures, behind the planners' one interface.

Shapes: B plans, N candidates, M latent samples, T horizon, A action, H embedding, S state,
F features, Z latent, E latent noise, P proposals, R = B*N*M rows imagined side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.world_model import WorldModel, imagine_step
from worldplan.planners.cost import TrajectoryCost


@dataclass(frozen=True)
class Imagination:
    """A future per row: what the model says happens under given actions and given luck."""

    h: Tensor  # (T+1, R, H)
    features: Tensor  # (T+1, R, F)
    z: Tensor  # (T, R, Z)
    actions: Tensor  # (T, R, A)


def imagine(model: WorldModel, h: Tensor, s: Tensor, actions: Tensor, noise: Tensor) -> Imagination:
    """Rolls the model forward from h (R, H), s (R, S) under actions (T,R,A), noise (T,R,E)."""
    hs, fs, zs = [h], [model.features(h, s)], []
    for a, e in zip(actions, noise, strict=True):
        h, s, z = imagine_step(model, h, s, a, e)
        hs.append(h)
        fs.append(model.features(h, s))
        zs.append(z)
    return Imagination(torch.stack(hs), torch.stack(fs), torch.stack(zs), actions)


def side_by_side(
    h: Tensor, s: Tensor, actions: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One row for each plan, candidate and latent sample: what `imagine` takes.

    Args:
        h: (B, H), s: (B, S), actions: (B,N,T,A), noise: (M,T,E), as planners give them.
    """
    B, N, T, A = actions.shape
    M = noise.shape[0]

    def rows(u: Tensor) -> Tensor:
        return u[:, None, None].expand(B, N, M, -1).reshape(B * N * M, -1)

    a = actions.permute(2, 0, 1, 3)[:, :, :, None].expand(T, B, N, M, A)
    e = noise.transpose(0, 1)[:, None, None].expand(T, B, N, M, -1)
    R = B * N * M
    return rows(h), rows(s), a.reshape(T, R, A), e.reshape(T, R, noise.shape[-1])


def learned_return(model: WorldModel, heads: Heads, discount: float, future: Imagination) -> Tensor:
    """Predicted return (R,): rewards over the horizon, then the policy's value.

    Each step is discounted by the probability that the episode has lasted so far, so that a
    plan which falls loses what it would have earned after.
    """
    reward, go_on, total = _outlook(heads, future)
    for t in reversed(range(len(reward))):
        total = reward[t] + discount * go_on[t] * total
    return total


def itemised_return(heads: Heads, discount: float, future: Imagination) -> Tensor:
    """What `learned_return` adds up (T+1, R): each step's discounted reward, and the value last."""
    reward, go_on, value = _outlook(heads, future)
    weight, items = torch.ones_like(value), []
    for r, chance in zip(reward, go_on, strict=True):
        items.append(weight * r)
        weight = weight * discount * chance
    return torch.stack([*items, weight * value])


def _outlook(heads: Heads, future: Imagination) -> tuple[Tensor, Tensor, Tensor]:
    """Reward (T, R) and chance to go on (T, R) of each step, and the value (R,) after the last."""
    # Heads read all steps in one batch once the dynamics are unrolled.
    reward_logits, go_on = heads.outcomes(future.features[:-1], future.z, future.actions)
    reward, go_on = heads.code.decode(reward_logits), go_on.sigmoid()
    last = future.features[-1]
    action, _ = heads.act(last, torch.zeros_like(future.actions[0]))
    return reward, go_on, heads.code.decode(heads.values(last, action)).mean(0)


def goal_distance(future: Imagination, goal: Tensor) -> Tensor:
    """Squared distance (R,) to the goal's embedding (B, H), summed over the horizon.

    Summed, not at the end alone: a plan that arrives early is better than one that arrives late
    (97% against 89% of two-room episodes by EB-JEPA: Terver et al. 2026,
    https://arxiv.org/abs/2602.03604).
    """
    T, R, H = future.h[1:].shape
    reached = future.h[1:].view(T, len(goal), -1, H)  # the rows of one plan stand together
    return (reached - goal[:, None]).square().sum((0, 3)).view(R)


def action_penalty(actions: Tensor, noise: Tensor) -> Tensor:
    """Sum over the horizon of |a|^2, for every latent sample: (B,N,M)."""
    return (actions**2).sum((-2, -1)).unsqueeze(-1).expand(-1, -1, noise.shape[0])


def action_rate_penalty(actions: Tensor, noise: Tensor) -> Tensor:
    """Sum over the horizon of |a(t+1) - a(t)|^2: (B,N,M)."""
    change = actions.diff(dim=-2)
    return (change**2).sum((-2, -1)).unsqueeze(-1).expand(-1, -1, noise.shape[0])


def weighted_sum(terms: Sequence[tuple[float, TrajectoryCost]]) -> TrajectoryCost:
    """The sum of weight * cost over the terms.

    Raises:
        ValueError: no terms.
    """
    if not terms:
        raise ValueError("weighted_sum needs at least one (weight, cost) pair, got none")

    def cost(actions: Tensor, noise: Tensor) -> Tensor:
        first, *rest = [weight * term(actions, noise) for weight, term in terms]
        return sum(rest, start=first)

    return cost


def propose(
    model: WorldModel, heads: Heads, h: Tensor, s: Tensor, will: Tensor, luck: Tensor
) -> Tensor:
    """Plans (B,P,T,A) of the policy followed in the model, from h (B, H), s (B, S).

    Args:
        will: (T,B,P,A) noise of the policy's actions, luck: (T,B,P,E) of what comes of them.
    """
    h, s = (u[:, None].expand(-1, will.shape[2], -1) for u in (h, s))
    actions = []
    for t in range(will.shape[0]):
        action, _ = heads.act(model.features(h, s), will[t])
        actions.append(action)
        if t + 1 < will.shape[0]:
            h, s, _ = imagine_step(model, h, s, action, luck[t])
    return torch.stack(actions, 2)
