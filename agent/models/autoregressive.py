"""The special case of the equation that language and video models are.

    h(t)   = x(t)                               Enc is the identity, but for scale
    s(t+1) = Pred(h(t), s(t), z(t) [, a(t)])    the window of what was seen, moved on by a step

LeCun 2024 (see `world_model`) names it, of language models.

x is cut into tokens. A causal transformer gives the distribution of the next step's, and z,
standard normal, picks from it: Phi(z) is where in the cumulative distribution of a token it falls,
and how far up the token's share says how far up its bin the value lies. Given the tokens before
it, a value is a continuous function of its z: on the same z, candidates that differ by less than a
bin can be told apart. Without the action variable the model can be watched, not steered.

Shapes: ... any leading shape, R rows, D observation, K bins, A action, k = context - 1 past steps,
S = D + k * (D + A) state, Z = D latent; in training N sequences, T predicted steps.
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
from worldplan.agent.models.transformer import TokenConfig, TokenModel, share_of
from worldplan.agent.models.world_model import LearnedModel, ModelConfig, ModelLoss
from worldplan.envs import EnvironmentSpec


class AutoregressiveConfig(ModelConfig):
    kind: Literal["autoregressive"] = "autoregressive"
    action: bool = Field(default=False, description="adds actions to what the model is told")
    context: int = Field(default=1, ge=1, description="observations in the window; 1 is Markov")
    bins: int = Field(default=32, ge=2, description="tokens per dimension of the observation")
    width: int = Field(default=64, ge=2, description="of the transformer")
    layers: int = Field(default=2, ge=1, description="of the transformer")
    heads: int = Field(default=4, ge=1, description="of its attention")
    uniform: float = Field(
        default=0.001,
        gt=0,
        lt=1,
        description="share of the uniform mixed in: no token is impossible",
    )

    def defaults(self) -> dict[str, Any]:
        """A policy proposes actions: without them in the model, there is nothing to propose."""
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
class Slice:
    """Standard normal z, of which it is known in what slice of its distribution it lies.

    z picks a token if it lies in the token's slice: so this is all that a token tells of z, and its
    KL from the prior is the token's surprise, -log p.
    """

    low: Tensor  # (..., Z) in [0, 1), the share of the distribution below the slice
    share: Tensor  # (..., Z) in (0, 1], of the slice

    def _at(self, fraction: Tensor | float) -> Tensor:
        # Rounding must not reach 0 or 1, where z is not finite.
        z: Tensor = torch.special.ndtri((self.low + self.share * fraction).clamp(1e-7, 1 - 1e-7))
        return z

    def sample(self, noise: Tensor) -> Tensor:
        return self._at(torch.special.ndtr(noise))

    def mode(self) -> Tensor:
        """The middle of the slice. The likeliest z lies on its edge, where rounding decides."""
        return self._at(0.5)

    def log_prob(self, z: Tensor) -> Tensor:
        depth = torch.special.ndtr(z) - self.low
        normal = -0.5 * (z**2 + math.log(2 * math.pi)) - self.share.log()
        return torch.where((depth >= 0) & (depth <= self.share), normal, -math.inf).sum(-1)

    def kl(self, other: LatentDistribution) -> Tensor:
        assert isinstance(other, Gaussian), "the prior of a slice is the whole"
        return -self.share.log().sum(-1)

    def detach(self) -> Slice:
        return Slice(self.low.detach(), self.share.detach())


class Autoregressive(LearnedModel):
    """Tokens in, tokens out; see `WorldModel`.

    s holds the observation that it predicts for its own time, then the tokens of the k steps before
    that, oldest first (K where nothing was seen), then the actions taken in them.
    """

    unrolls = True  # a pass of the transformer for each token: 36 in a decision about a pendulum

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
        sizes = TokenConfig(
            D, c.bins, c.context, self.action_dim, c.width, c.layers, c.heads, c.uniform
        )
        self.language = TokenModel(sizes)

    def encode(self, x: Tensor) -> Tensor:
        h: Tensor = self.normaliser(x)
        return h

    def initial_state(self, h: Tensor) -> Tensor:
        k = self.context - 1
        nothing = h.new_full((*h.shape[:-1], k * self.embedding_dim), self.config.bins)
        return torch.cat([h, nothing, h.new_zeros(*h.shape[:-1], k * self.action_dim)], -1)

    def expect(self, s: Tensor) -> Tensor:
        return s[..., : self.embedding_dim]

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h

    def _window(self, h: Tensor, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (..., context, D) and actions (..., context, A), with h and a the newest."""
        D, k = self.embedding_dim, self.context - 1
        lead = h.shape[:-1]
        tokens = s[..., D : D + k * D].reshape(*lead, k, D).long()
        actions = s[..., D + k * D :].reshape(*lead, k, self.action_dim)
        now = self.normaliser.tokens(h).unsqueeze(-2)
        act = a[..., : self.action_dim].unsqueeze(-2)
        return torch.cat([tokens, now], -2), torch.cat([actions, act], -2)

    def _state(self, h_next: Tensor, tokens: Tensor, actions: Tensor) -> Tensor:
        """The window moved on by a step: its oldest one is forgotten."""
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

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> Slice:
        following = self.normaliser.tokens(h_next)
        tokens, actions = self._window(h, s, a)
        logits = self.language.logits(_rows(tokens, 2), _rows(actions, 2), _rows(following, 1))
        return Slice(*share_of(logits.exp().view(*h.shape, -1), following))

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        """As with the posterior's z, which picks the tokens that came: no network is needed."""
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
        # Taught by the truth, not by its own tokens: all steps at once, one as good as another.
        posterior = self.posterior(h[C:-1], torch.stack(states[C:]), a[C:], h[C + 1 :])
        surprise = -posterior.share.log().sum(-1)
        loss = (surprise * valid[C:]).sum() / valid[C:].sum()
        z = posterior.detach().sample(noise[C:])
        return ModelLoss(loss, {"cross_entropy": loss}, h[C], h[C:-1], z, h[-1])


def _rows(u: Tensor, keep: int) -> Tensor:
    """Any leading shape, none included, as one axis before the last `keep`."""
    return u.unsqueeze(0).flatten(0, -1 - keep)
