"""Imagined trajectories in the layout that planners ask for.

Shapes: B plans, N candidates, M latent samples, T horizon, A action, H embedding, S state,
E latent noise, P proposals, R = B*N*M rows imagined side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.world_model import WorldModel, imagine_step


def side_by_side(
    h: Tensor, s: Tensor, actions: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One row for each plan, candidate and latent sample: what `Model.imagine` takes.

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


def propose(
    model: WorldModel,
    heads: Heads,
    h: Tensor,
    s: Tensor,
    action_noise: Tensor,
    latent_noise: Tensor,
) -> Tensor:
    """Plans (B,P,T,A) of the policy followed in the model, from h (B, H), s (B, S).

    Args:
        action_noise: (T,B,P,A) of the policy's actions.
        latent_noise: (T,B,P,E) of what comes of them.
    """
    h, s = (u[:, None].expand(-1, action_noise.shape[2], -1) for u in (h, s))
    actions = []
    for t in range(action_noise.shape[0]):
        action, _ = heads.act(model.features(h, s), action_noise[t])
        actions.append(action)
        if t + 1 < action_noise.shape[0]:
            h, s, _ = imagine_step(model, h, s, action, latent_noise[t])
    return torch.stack(actions, 2)
