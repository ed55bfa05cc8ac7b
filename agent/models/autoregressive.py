"""Autoregressive world models, such as language and video models, as a special case.

    h(t)   = x(t)                               Enc is the identity, up to normalisation
    s(t+1) = Pred(h(t), s(t), z(t) [, a(t)])    s is a window of past observations, shifted by Pred

LeCun 2024 (see `world_model`) describes language models in this way.

x is divided into tokens, one per dimension. A causal transformer predicts the distribution of the
next step's tokens, and z, standard normal, samples from it: the quantile Phi(z) selects a token,
and its position within the token's interval of quantiles gives the position of the value within
its bin. So, given the previous tokens, a value is a continuous function of z, and candidates that
differ by less than a bin have different values under the same z. Without the action variable the
predictions do not depend on actions.

Shapes: ... any leading shape, R rows, D observation, K bins, A action, k = context - 1 past steps,
S = D + k * (D + A) state, Z = D latent; in training N sequences, C = context - 1 filtered steps,
T predicted steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from worldplan.agent.models.bins import Bins
from worldplan.agent.models.latent import Gaussian, LatentDistribution
from worldplan.agent.models.size import Size
from worldplan.agent.models.transformer import TokenModel, TransformerConfig, quantile_interval
from worldplan.agent.models.world_model import LearnedModel, ModelConfig, ModelLoss
from worldplan.envs import EnvironmentSpec


class AutoregressiveConfig(ModelConfig):
    """Settings of `Autoregressive`."""

    kind: Literal["autoregressive"] = "autoregressive"
    action: bool = Field(default=False, description="whether the model reads actions")
    context: int = Field(
        default=1, ge=1, le=500, description="observations in the window; 1 is Markov"
    )
    bins: int = Field(
        default=32, ge=2, le=4096, description="tokens per dimension of the observation"
    )
    width: int = Field(default=64, ge=2, le=16_384, description="width of the transformer")
    layers: int = Field(default=2, ge=1, le=32, description="blocks of the transformer")
    heads: int = Field(default=4, ge=1, le=256, description="attention heads per block")
    uniform: float = Field(
        default=0.001,
        gt=0,
        lt=1,
        description="share of the uniform distribution mixed in: no token is impossible",
    )

    def size(self, spec: EnvironmentSpec) -> Size:
        D, W, L = spec.observation.size, self.width, self.layers
        positions = self.context * (D + self.action) + D
        tables = 2 * D * self.bins * W + positions * W
        hidden = positions * L * (12 * W + positions * self.heads) + 2 * D * self.bins
        kept = 3 * D + self.context * (D + spec.action.size)
        return Size(tables + L * 12 * W**2, hidden, kept, self.context)

    def defaults(self) -> dict[str, Any]:
        """No policy proposals if the model does not read actions."""
        return {} if self.action else {"agent": {"proposals": 0}}

    @model_validator(mode="after")
    def _heads_fit(self) -> AutoregressiveConfig:
        if self.width % self.heads:
            nearest = max(1, round(self.width / self.heads)) * self.heads
            raise ValueError(
                f"width must be a multiple of heads={self.heads}, got {self.width}; "
                f"nearest: {nearest}"
            )
        return self


@dataclass(frozen=True)
class TruncatedNormal:
    """A standard normal z, truncated to an interval of quantiles: the posterior given tokens.

    z selects a token if its quantile Phi(z) is in the token's interval, the width of which is the
    token's probability p. So the KL from the standard normal prior is -log p.
    """

    low: Tensor  # (..., Z) in [0, 1), lowest quantile
    width: Tensor  # (..., Z) in (0, 1], of the interval of quantiles

    def _at(self, fraction: Tensor | float) -> Tensor:
        # At 0 and 1, which rounding could reach, z is not finite.
        z: Tensor = torch.special.ndtri((self.low + self.width * fraction).clamp(1e-7, 1 - 1e-7))
        return z

    def sample(self, noise: Tensor) -> Tensor:
        return self._at(torch.special.ndtr(noise))

    def mode(self) -> Tensor:
        """The median. The most likely z is on the edge, where rounding could change the token."""
        return self._at(0.5)

    def log_prob(self, z: Tensor) -> Tensor:
        above = torch.special.ndtr(z) - self.low
        normal = -0.5 * (z**2 + math.log(2 * math.pi)) - self.width.log()
        return torch.where((above >= 0) & (above <= self.width), normal, -math.inf).sum(-1)

    def kl(self, other: LatentDistribution) -> Tensor:
        assert isinstance(other, Gaussian), "the prior is standard normal"
        return -self.width.log().sum(-1)

    def detach(self) -> TruncatedNormal:
        return TruncatedNormal(self.low.detach(), self.width.detach())


class Autoregressive(LearnedModel):
    """A `WorldModel` that predicts the tokens of the next observation with a transformer.

    s contains the predicted observation, the tokens of the k steps before it, oldest first (K
    where there was no step), and the actions in these steps.
    """

    unrolls = True  # a pass of the transformer per token: 36 in a decision of inverted-pendulum

    def __init__(self, config: AutoregressiveConfig, spec: EnvironmentSpec) -> None:
        super().__init__(spec)
        D = spec.observation.size
        self.config = c = config
        self.context, self.uses_action = c.context, c.action
        self.embedding_dim = self.feature_dim = D
        self.latent_dim = self.noise_dim = D
        self.action_dim = spec.action.size if c.action else 0
        self.normaliser: Bins = Bins(D, c.bins)
        self.encoder = nn.Identity()
        self.language = TokenModel(
            TransformerConfig(
                dimensions=D,
                tokens=c.bins,
                context=c.context,
                action=self.action_dim,
                width=c.width,
                layers=c.layers,
                heads=c.heads,
                uniform=c.uniform,
            )
        )

    def encode(self, x: Tensor) -> Tensor:
        h: Tensor = self.normaliser(x)
        return h

    def initial_state(self, h: Tensor) -> Tensor:
        k = self.context - 1
        not_seen = h.new_full((*h.shape[:-1], k * self.embedding_dim), self.config.bins)
        return torch.cat([h, not_seen, h.new_zeros(*h.shape[:-1], k * self.action_dim)], -1)

    def expect(self, s: Tensor) -> Tensor:
        return s[..., : self.embedding_dim]

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h

    def _window(self, h: Tensor, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (..., context, D) and actions (..., context, A) of s, then of h and a."""
        D, k = self.embedding_dim, self.context - 1
        lead = h.shape[:-1]
        tokens = s[..., D : D + k * D].reshape(*lead, k, D).long()
        actions = s[..., D + k * D :].reshape(*lead, k, self.action_dim)
        now = self.normaliser.tokens(h).unsqueeze(-2)
        act = a[..., : self.action_dim].unsqueeze(-2)
        return torch.cat([tokens, now], -2), torch.cat([actions, act], -2)

    def _state(self, h_next: Tensor, tokens: Tensor, actions: Tensor) -> Tensor:
        """The next state (..., S): h_next, and the window without its oldest step."""
        past = [u[..., 1:, :].flatten(-2).to(h_next.dtype) for u in (tokens, actions)]
        return torch.cat([h_next, *past], -1)

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        tokens, actions = self._window(h, s, a)
        quantile = _rows(torch.special.ndtr(z), 1)
        following, fraction = self.language.generate(_rows(tokens, 2), _rows(actions, 2), quantile)
        values = self.normaliser.values(following.view(h.shape), fraction.view(h.shape))
        return self._state(values, tokens, actions)

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        return Gaussian(torch.zeros_like(h), torch.ones_like(h))

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> TruncatedNormal:
        following = self.normaliser.tokens(h_next)
        tokens, actions = self._window(h, s, a)
        logits = self.language.logits(_rows(tokens, 2), _rows(actions, 2), _rows(following, 1))
        return TruncatedNormal(*quantile_interval(logits.exp().view(*h.shape, -1), following))

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        """Equals predicting with the posterior's mode, but needs no network: tokens are known."""
        tokens = self.normaliser.tokens(h_next)
        values = self.normaliser.values(tokens, torch.full_like(h_next, 0.5))
        followed = self._state(values, *self._window(h, s, a))
        return torch.where(valid.unsqueeze(-1), followed, self.initial_state(h_next))

    def loss(
        self, x: Tensor, a: Tensor, valid: Tensor, weights: Tensor, noise: Tensor, extra: Tensor
    ) -> ModelLoss:
        C, T = self.context - 1, len(weights)
        h = self.encode(x)
        states = [self.initial_state(h[0])]
        for t in range(C + T - 1):
            states.append(self.filter(h[t], states[-1], a[t], h[t + 1], valid[t]))
        # Teacher forcing: all steps at once, with equal weights.
        posterior = self.posterior(h[C:-1], torch.stack(states[C:]), a[C:], h[C + 1 :])
        cross_entropy = -posterior.width.log().sum(-1)
        loss = (cross_entropy * valid[C:]).sum() / valid[C:].sum()
        z = posterior.detach().sample(noise[C:])
        start = h[C], states[C]
        return ModelLoss(loss, {"cross_entropy": loss}, start, h[C:-1], z, h[-1])


def _rows(u: Tensor, keep: int) -> Tensor:
    """Flattens all leading axes (also none) into one axis before the last `keep`."""
    return u.unsqueeze(0).flatten(0, -1 - keep)
