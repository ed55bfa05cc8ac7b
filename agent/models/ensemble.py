"""An ensemble of probabilistic networks: PETS (Chua et al. 2018, https://arxiv.org/abs/1805.12114).

Enc is the identity: h is the normalised observation. z = (member, noise). The member is the network
that is taken as right (epistemic uncertainty, which more data reduce); the noise is that of the
step (aleatoric uncertainty, which no data reduce).

Shapes: ... any leading shape, D observation and embedding, A action, N members, Z = N + D latent,
E = 1 + D its noise; in training S sequences, T steps.
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
from worldplan.agent.models.networks import EnsembleMLP, Normaliser, widest
from worldplan.agent.models.size import Size, mlp_size
from worldplan.agent.models.world_model import LearnedModel, ModelConfig, ModelLoss
from worldplan.envs import EnvironmentSpec

PRIME = 2**31 - 1  # modulus of the hash that gives each transition its bootstrap weights


class EnsembleConfig(ModelConfig):
    """Settings of `Ensemble`."""

    kind: Literal["ensemble"] = "ensemble"
    members: int = Field(default=5, ge=1, le=100, description="networks")
    width: int = Field(default=200, ge=1, le=16_384, description="width of hidden layers")
    layers: int = Field(default=2, ge=1, le=32, description="hidden layers")
    sampling: Literal["ts1", "tsinf"] = Field(
        default="tsinf", description="ts1: a member per step; tsinf: one for the whole trajectory"
    )
    weight: float = Field(
        default=1.0, gt=0, le=1e6, description="weight of the negative log-likelihood"
    )
    bounds: float = Field(
        default=0.01, ge=0, le=1e6, description="weight of the penalty on the bounds of the log std"
    )

    def size(self, spec: EnvironmentSpec) -> Size:
        D, A = spec.observation.size, spec.action.size
        networks = mlp_size(D + A, 2 * D, self.width, self.layers).times(self.members)
        return networks + Size(kept=4 * D + 2 * self.members, context=1)

    def defaults(self) -> dict[str, Any]:
        """Five latent samples (PETS: 20). With one, a plan would rely on a single member."""
        return {"agent": {"planner": {"latent_samples": 5}}}


@dataclass(frozen=True)
class MemberAndNoise:
    """Distribution of z: a one-hot member, and noise that is standard normal or known."""

    member: Categorical  # one group, with logits (..., 1, N)
    known: Tensor | None  # (..., N, D) for each member the noise that gives h_next
    width: int  # D

    def sample(self, noise: Tensor) -> Tensor:
        """Noise (..., 1 + D) -> z (..., N + D). The first number selects the member."""
        return self._with(self.member.sample(noise[..., :1]), noise[..., 1:])

    def mode(self) -> Tensor:
        member = self.member.mode()
        return self._with(member, member.new_zeros(self.width))

    def _with(self, member: Tensor, noise: Tensor) -> Tensor:
        if self.known is not None:
            noise = (member.unsqueeze(-1) * self.known).sum(-2)
        return torch.cat([member, noise.expand(*member.shape[:-1], -1)], -1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log probability of the member + log density of the noise (...), in nats.

        Raises:
            ValueError: the noise is known and has no density.
        """
        self._require_random_noise("log_prob")
        members = self.member.logits.shape[-1]
        noise = Gaussian(z.new_zeros(()), z.new_ones(())).log_prob(z[..., members:])
        return self.member.log_prob(z[..., :members]) + noise

    def kl(self, other: LatentDistribution) -> Tensor:
        """KL (...) of the members, in nats: the noise is standard normal in both.

        Raises:
            ValueError: the noise is known in one of them, so that the KL is infinite.
        """
        assert isinstance(other, MemberAndNoise), "KL is between distributions of one kind"
        self._require_random_noise("kl")
        other._require_random_noise("kl")
        return self.member.kl(other.member)

    def _require_random_noise(self, what: str) -> None:
        if self.known is not None:
            raise ValueError(
                f"{what} of an ensemble's posterior is infinite, because its noise is known given "
                "the member; expected a prior, or `.member`, for which it is finite"
            )

    def detach(self) -> MemberAndNoise:
        known = None if self.known is None else self.known.detach()
        return MemberAndNoise(self.member.detach(), known, self.width)


class Ensemble(LearnedModel):
    """N networks, each of which predicts a diagonal Gaussian of the next h; see `WorldModel`.

    The model is Markov: the state contains one observation. With `tsinf` it also contains the
    current member, one-hot, to which the prior gives probability 1. Before the first step, which
    samples the member, it is all zeros.
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
        # Members should differ where there are no data. With few inputs and no bias, LayerNorm
        # removes nearly everything but the direction, and all members would start alike.
        nn.init.trunc_normal_(self.networks.biases[0], std=0.02)
        # Bounds of the log standard deviation, with the initial values of PETS.
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
        """Log standard deviation between soft bounds, as PETS bounds the log variance."""
        raw = self.highest - F.softplus(self.highest - raw)
        return self.lowest + F.softplus(raw - self.lowest)

    def _member(self, h: Tensor, s: Tensor) -> Tensor:
        """Logits (..., N) of the prior: equal, or certain of the current member.

        PETS assigns its particles evenly to the members. Here each particle samples a member, as
        the noise is drawn outside the model.
        """
        if self.config.sampling == "ts1":
            return h.new_zeros(*h.shape[:-1], self.config.members)
        return 1e9 * s[..., self.embedding_dim :].detach()

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> MemberAndNoise:
        member = Categorical(self._member(h, s).unsqueeze(-2))
        return MemberAndNoise(member, None, self.embedding_dim)

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> MemberAndNoise:
        """Bayes' rule: members by their likelihood of h_next, each with the noise that gives it.

        So `predict` returns h_next for every sample of z.
        """
        return self._infer(h, s, *self._errors(h, a, h_next))

    def _errors(self, h: Tensor, a: Tensor, h_next: Tensor) -> tuple[Tensor, Tensor]:
        """Each member's standardised error and log standard deviation, (N, ..., D)."""
        mean, raw = self.networks(torch.cat([h, a], -1)).chunk(2, -1)
        log_std = self._log_std(raw)
        return (h_next - h - mean) / log_std.exp(), log_std

    def _infer(self, h: Tensor, s: Tensor, error: Tensor, log_std: Tensor) -> MemberAndNoise:
        likelihood = -(0.5 * error**2 + log_std).sum(-1).movedim(0, -1)
        member = Categorical((self._member(h, s) + likelihood).unsqueeze(-2))
        return MemberAndNoise(member, error.movedim(0, -2), self.embedding_dim)

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        """The initial state at h_next: as in PETS, the member is sampled again."""
        return self.initial_state(h_next)

    def information(self, posterior: LatentDistribution, prior: LatentDistribution) -> Tensor:
        """KL (...) of the member, in nats. That of the noise is infinite, as the noise is known."""
        assert isinstance(posterior, MemberAndNoise), "expected a posterior of this model"
        assert isinstance(prior, MemberAndNoise), "expected a prior of this model"
        return posterior.member.kl(prior.member)

    def loss(
        self, x: Tensor, a: Tensor, valid: Tensor, weights: Tensor, noise: Tensor, extra: Tensor
    ) -> ModelLoss:
        h = self.encode(x)
        now, after = h[:-1], h[1:]
        # Each step is predicted from an observation, not from a prediction: equal weights.
        error, log_std = self._errors(now, a, after)
        nll = (0.5 * error**2 + log_std).mean(-1)
        loss = (nll * self._bootstrap_weights(x, a) * valid).mean((1, 2)).sum()
        bounds = (self.highest - self.lowest).sum()
        # Detached: the heads read the posterior z but do not train the model through it.
        s = self.initial_state(now)
        z = self._infer(now, s, error, log_std).sample(noise).detach()
        metrics = {
            "nll": losses.weighted(nll.mean(0), weights),
            "std": losses.weighted(log_std.exp().mean((0, -1)), weights),
        }
        if self.config.members > 1:
            spread = (error * log_std.exp()).std(0).mean(-1)
            metrics["disagreement"] = losses.weighted(spread, weights)
        total = self.config.weight * loss + self.config.bounds * bounds
        return ModelLoss(total, metrics, (now[0], s[0]), now, z, h[-1])

    def _bootstrap_weights(self, x: Tensor, a: Tensor) -> Tensor:
        """Weight of each transition for each member: (N, T, S), with mean 1.

        PETS resamples a data set for each member before each training. Here data arrive one by
        one: a weight is exponentially distributed (Rubin 1981, "The Bayesian Bootstrap") and a
        hash (Carter & Wegman 1979) of the bits of its transition. So it is the same whenever the
        transition is sampled, and is not stored.
        """
        transition = torch.cat([x[:-1], a, x[1:]], -1)
        bits = transition.view(torch.int32).long().remainder(PRIME).unsqueeze(-1)
        key = (bits * self.deal).remainder(PRIME).sum(-2).remainder(PRIME)
        wide = widest(x.device)
        uniform = (key.to(wide) / PRIME).clamp(max=1 - torch.finfo(wide).eps)
        return -torch.log1p(-uniform).float().movedim(-1, 0)
