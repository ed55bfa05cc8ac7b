"""An ensemble of probabilistic networks: PETS (Chua et al. 2018, https://arxiv.org/abs/1805.12114).

Enc is the identity: h is the normalised observation. z = (member, noise): which of the networks is
right, which more data would tell (epistemic), and the noise of the step, which no data tells
(aleatoric).

Shapes: ... any leading shape, D observation and embedding, A action, N members, Z = N + D latent,
E = 1 + D its noise, S state; in training S sequences, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from worldplan.agent.models import losses
from worldplan.agent.models.latent import Categorical, Gaussian, LatentDistribution
from worldplan.agent.models.networks import EnsembleMLP, Normaliser
from worldplan.agent.models.world_model import LearnedModel, ModelConfig, ModelLoss
from worldplan.envs import EnvironmentSpec

PRIME = 2**31 - 1  # of the hash that deals transitions out to members


class EnsembleConfig(ModelConfig):
    """Settings of `Ensemble`."""

    kind: Literal["ensemble"] = "ensemble"
    members: int = Field(default=5, ge=1, description="networks")
    width: int = Field(default=200, ge=1, description="width of hidden layers")
    layers: int = Field(default=2, ge=1, description="hidden layers")
    sampling: Literal["ts1", "tsinf"] = Field(
        default="tsinf", description="a member for each step, or one for the whole trajectory"
    )
    weight: float = Field(default=1.0, gt=0, description="of the negative log-likelihood")
    bounds: float = Field(
        default=0.01, ge=0, description="pull that narrows the bounds of the standard deviation"
    )

    def defaults(self) -> dict[str, Any]:
        """Several futures, as PETS plans with 20: in each another member may be right. With one, a
        plan trusts whichever is drawn."""
        return {"agent": {"planner": {"latent_samples": 5}}}


@dataclass(frozen=True)
class MemberAndNoise:
    """z: a member (one-hot), and noise: standard normal, or known for each member."""

    member: Categorical  # of one group: logits (..., 1, N)
    known: Tensor | None  # (..., N, D) the noise that explains what happened, if each were right
    width: int  # D

    def sample(self, noise: Tensor) -> Tensor:
        """Noise (..., 1 + D) -> z (..., N + D); the first number picks the member."""
        return self._with(self.member.sample(noise[..., :1]), noise[..., 1:])

    def mode(self) -> Tensor:
        member = self.member.mode()
        return self._with(member, member.new_zeros(self.width))

    def _with(self, member: Tensor, noise: Tensor) -> Tensor:
        if self.known is not None:
            noise = (member.unsqueeze(-1) * self.known).sum(-2)
        return torch.cat([member, noise.expand(*member.shape[:-1], -1)], -1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log mass of the member + log density of the noise.

        Raises:
            ValueError: the noise is known, and so has no density.
        """
        self._open("log_prob")
        members = self.member.logits.shape[-1]
        noise = Gaussian(z.new_zeros(()), z.new_ones(())).log_prob(z[..., members:])
        return self.member.log_prob(z[..., :members]) + noise

    def kl(self, other: LatentDistribution) -> Tensor:
        """What separates the members' probabilities: the noise is standard normal in both.

        Raises:
            ValueError: the noise is known in one of them, and the divergence so infinite.
        """
        assert isinstance(other, MemberAndNoise), "KL is between distributions of one kind"
        self._open("kl")
        other._open("kl")
        return self.member.kl(other.member)

    def _open(self, what: str) -> None:
        if self.known is not None:
            raise ValueError(
                f"{what} of an ensemble's posterior is infinite: given the member, one noise "
                "explains what happened; expected a prior, or `.member`, which is finite"
            )

    def detach(self) -> MemberAndNoise:
        known = None if self.known is None else self.known.detach()
        return MemberAndNoise(self.member.detach(), known, self.width)


class Ensemble(LearnedModel):
    """N networks, each a diagonal Gaussian of the next h; see `WorldModel`.

    Markov: one observation is all it reads. With `tsinf` the member in force stands in s, one-hot,
    and the prior is certain of it; all zero before the first step, which draws it.
    """

    def __init__(self, config: EnsembleConfig, spec: EnvironmentSpec) -> None:
        super().__init__(spec)
        D, A = spec.observation.size, spec.action.size
        self.config = c = config
        self.context = 1
        self.embedding_dim = self.feature_dim = D
        self.latent_dim, self.noise_dim = c.members + D, 1 + D
        self.normaliser = Normaliser(D)
        self.encoder = nn.Identity()
        self.networks = EnsembleMLP(c.members, D + A, 2 * D, c.width, c.layers)
        # Members are to differ where there are no data. Without a bias, LayerNorm leaves of few
        # inputs hardly more than their direction, and all of the members begin alike.
        nn.init.trunc_normal_(self.networks.biases[0], std=0.02)
        # Bounds of the log standard deviation, where PETS starts them.
        self.lowest = nn.Parameter(torch.full((D,), -5.0))
        self.highest = nn.Parameter(torch.full((D,), 0.25))
        self.register_buffer("deal", torch.randint(1, PRIME, (2 * D + A, c.members)))

    deal: Tensor

    def encode(self, x: Tensor) -> Tensor:
        h: Tensor = self.normaliser(x)
        return h

    def initial_state(self, h: Tensor) -> Tensor:
        return self._state(h, h.new_zeros(*h.shape[:-1], self.config.members))

    def _state(self, h: Tensor, member: Tensor) -> Tensor:
        return torch.cat([h, member], -1) if self.config.sampling == "tsinf" else h

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h

    def expect(self, s: Tensor) -> Tensor:
        return s[..., : self.embedding_dim]

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        member, noise = z[..., : self.config.members], z[..., self.config.members :]
        mean, raw = self.networks.of_one(torch.cat([h, a], -1), member).chunk(2, -1)
        return self._state(h + mean + self._log_std(raw).exp() * noise, member)

    def _log_std(self, raw: Tensor) -> Tensor:
        """Bounded softly from both sides, as PETS does with the log variance."""
        raw = self.highest - F.softplus(self.highest - raw)
        return self.lowest + F.softplus(raw - self.lowest)

    def _member(self, h: Tensor, s: Tensor) -> Tensor:
        """Logits (..., N): all alike, or certain of the one in force.

        PETS deals its particles out to members evenly; here each draws its own, for noise comes
        from outside and knows of no members.
        """
        if self.config.sampling == "ts1":
            return h.new_zeros(*h.shape[:-1], self.config.members)
        return 1e9 * s[..., self.embedding_dim :].detach()

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> MemberAndNoise:
        member = Categorical(self._member(h, s).unsqueeze(-2))
        return MemberAndNoise(member, None, self.embedding_dim)

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> MemberAndNoise:
        """Bayes' rule: members by the likelihood of h_next, and the noise that takes each there.

        So `predict` with any z of it gives h_next.
        """
        return self._explain(h, s, *self._errors(h, a, h_next))

    def _errors(self, h: Tensor, a: Tensor, h_next: Tensor) -> tuple[Tensor, Tensor]:
        """Each member's standardised error and log standard deviation, (N, ..., D)."""
        mean, raw = self.networks(torch.cat([h, a], -1)).chunk(2, -1)
        log_std = self._log_std(raw)
        return (h_next - h - mean) / log_std.exp(), log_std

    def _explain(self, h: Tensor, s: Tensor, error: Tensor, log_std: Tensor) -> MemberAndNoise:
        likelihood = -(0.5 * error**2 + log_std).sum(-1).movedim(0, -1)
        member = Categorical((self._member(h, s) + likelihood).unsqueeze(-2))
        return MemberAndNoise(member, error.movedim(0, -2), self.embedding_dim)

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        """Nothing is remembered but h_next: any member may be right again, as in PETS."""
        return self.initial_state(h_next)

    def information(self, posterior: LatentDistribution, prior: LatentDistribution) -> Tensor:
        """Of the member. What the noise tells is infinite, for it is exact."""
        assert isinstance(posterior, MemberAndNoise), "of this model"
        assert isinstance(prior, MemberAndNoise), "of this model"
        return posterior.member.kl(prior.member)

    def loss(
        self, x: Tensor, a: Tensor, valid: Tensor, weights: Tensor, noise: Tensor, extra: Tensor
    ) -> ModelLoss:
        h = self.encode(x)
        now, after = h[:-1], h[1:]
        # From what was seen, at each step: so none counts less, as far predictions would.
        error, log_std = self._errors(now, a, after)
        nll = (0.5 * error**2 + log_std).mean(-1)
        loss = (nll * self._shares(x, a) * valid).mean((1, 2)).sum()
        bounds = (self.highest - self.lowest).sum()
        # What happened is told to the heads, but they have no say in it: Pred is to be likely.
        s = self.initial_state(now)
        z = self._explain(now, s, error, log_std).sample(noise).detach()
        metrics = {
            "nll": losses.weighted(nll.mean(0), weights),
            "std": losses.weighted(log_std.exp().mean((0, -1)), weights),
        }
        if self.config.members > 1:
            spread = (error * log_std.exp()).std(0).mean(-1)
            metrics["disagreement"] = losses.weighted(spread, weights)
        total = self.config.weight * loss + self.config.bounds * bounds
        return ModelLoss(total, metrics, now[0], now, z, h[-1])

    def _shares(self, x: Tensor, a: Tensor) -> Tensor:
        """How much each transition counts for each member: (N, T, S), of mean 1.

        PETS draws a data set for each member, with replacement, again for each training. Here data
        come in a stream: a transition's count is exponential (Rubin 1981, "The Bayesian
        Bootstrap"), and a hash (Carter & Wegman 1979) of its bits, so that it is the same whenever
        it is drawn and need not be stored.
        """
        transition = torch.cat([x[:-1], a, x[1:]], -1)
        bits = transition.view(torch.int32).long().remainder(PRIME).unsqueeze(-1)
        key = (bits * self.deal).remainder(PRIME).sum(-2).remainder(PRIME)
        return -torch.log1p(-key.double() / PRIME).float().movedim(-1, 0)
