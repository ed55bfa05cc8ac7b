"""The default world model: a joint-embedding predictive architecture (JEPA, LeCun 2022).

https://openreview.net/forum?id=BZ5a1r-kVsf

Shapes: ... any leading shape, D observation, H embedding, M memory, H + M state, A action,
Z latent, E its noise, F = H + M features; in training S sequences, C = context - 1 filtered steps,
T predicted steps. With context 1 there is no memory: M = 0.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from worldplan.agent.models import losses
from worldplan.agent.models.encoders import make_encoder, make_normaliser, shifted
from worldplan.agent.models.jepa.config import JEPAConfig
from worldplan.agent.models.latent import LatentDistribution
from worldplan.agent.models.networks import MLP, SimNorm, update_ema
from worldplan.agent.models.world_model import LearnedModel, ModelLoss
from worldplan.envs import EnvironmentSpec


class JEPA(LearnedModel):
    """A `WorldModel` whose Pred predicts embeddings, with a learned prior and posterior of z."""

    observations = ("vector", "pictures")

    def __init__(self, config: JEPAConfig, spec: EnvironmentSpec) -> None:
        super().__init__(spec)
        self.config = c = config
        self.context = c.context
        self.memory_dim = c.memory if c.context > 1 else 0
        self.embedding_dim, self.latent_dim = c.embedding, c.latent.width
        self.noise_dim = c.latent.noise
        self.feature_dim = c.embedding + self.memory_dim
        self.uses_action = c.action
        self.latent = c.latent
        self.normaliser = make_normaliser(spec.observation)
        network = make_encoder(spec.observation, c.embedding, c.width, c.pictures)
        self.encoder = nn.Sequential(network, self._norm(c))
        step = self.feature_dim + c.latent.width + spec.action.size
        self.dynamics = MLP(step, c.embedding, c.width, c.layers)
        self.embedding_norm = self._norm(c)
        if self.memory_dim:
            self.gates = nn.Linear(step, 3 * self.memory_dim)
            self.gates_norm = nn.LayerNorm(3 * self.memory_dim)
        if c.latent.parameters:
            seen = self.feature_dim + spec.action.size
            self.prior_net = MLP(seen, c.latent.parameters, c.width, 1, zero_output=True)
            self.posterior_net = MLP(seen + c.embedding, c.latent.parameters, c.width, 1)
        if c.anti_collapse == "sigreg":
            self.extra_noise = (c.embedding, c.sigreg_directions)
        self.target_encoder: nn.Module | None = None
        if c.encoder_ema:
            self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)

    def augment(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        layout, most = self.spec.observation.pictures, self.config.pictures.shift
        if not (layout and most):
            return x
        # What stands still is the mean of the pictures: it stays where it is.
        still = self.normaliser.shift.round() * self.normaliser.picture
        moved = still + shifted(x - still, layout, most, generator)
        return torch.where(self.normaliser.picture, moved.clamp(0, 255), moved).to(x.dtype)

    @staticmethod
    def _norm(c: JEPAConfig) -> nn.Module:
        if c.anti_collapse == "simnorm":
            return SimNorm(c.simnorm_group)
        if c.anti_collapse == "layernorm":
            return nn.LayerNorm(c.embedding, elementwise_affine=False)
        # VICReg and SIGReg regularise the embedding by a loss; with "none" it can collapse.
        return nn.Identity()

    def encode(self, x: Tensor) -> Tensor:
        h: Tensor = self.encoder(self.normaliser(x))
        return h

    def initial_state(self, h: Tensor) -> Tensor:
        return torch.cat([h, h.new_zeros(*h.shape[:-1], self.memory_dim)], -1)

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return torch.cat([h, s[..., self.embedding_dim :]], -1) if self.memory_dim else h

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        step = torch.cat([self.features(h, s), z, self._seen(a)], -1)
        h_next: Tensor = self.embedding_norm(self.dynamics(step))
        if not self.memory_dim:
            return h_next
        # A GRU cell with normalised gates, as in DreamerV3's recurrent state.
        reset, update, new = self.gates_norm(self.gates(step)).chunk(3, -1)
        keep = torch.sigmoid(update - 1)
        memory = s[..., self.embedding_dim :]
        memory = keep * torch.tanh(torch.sigmoid(reset) * new) + (1 - keep) * memory
        return torch.cat([h_next, memory], -1)

    def expect(self, s: Tensor) -> Tensor:
        return s[..., : self.embedding_dim]

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        f = self.features(h, s)
        if not self.latent_dim:
            return self.latent.distribution(f[..., :0])
        return self.latent.distribution(self.prior_net(torch.cat([f, self._seen(a)], -1)))

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        f = self.features(h, s)
        if not self.latent_dim:
            return self.latent.distribution(f[..., :0])
        seen = torch.cat([f, self._seen(a), h_next], -1)
        return self.latent.distribution(self.posterior_net(seen))

    def _seen(self, a: Tensor) -> Tensor:
        return a if self.uses_action else torch.zeros_like(a)

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        """Next state (..., H + M), given h_next; where not valid (...), its initial state.

        z is the mode of the posterior. Training and acting both call this method, so that the
        same `context` observations always give the same state.
        """
        z = self.posterior(h, s, a, h_next).mode()
        return torch.where(
            valid.unsqueeze(-1), self.predict(h, s, z, a), self.initial_state(h_next)
        )

    def loss(
        self, x: Tensor, a: Tensor, valid: Tensor, weights: Tensor, noise: Tensor, extra: Tensor
    ) -> ModelLoss:
        C, T = self.context - 1, len(weights)
        embedded = self.encode(x)

        # Targets of Pred. With SimNorm and LayerNorm no gradient passes through the target.
        target = embedded
        if self.target_encoder is not None:
            target = self.target_encoder(self.normaliser(x))
        elif self.config.anti_collapse in ("simnorm", "layernorm"):
            target = embedded.detach()

        # Filter the context, as in acting.
        s = self.initial_state(embedded[0])
        for t in range(C):
            s = self.filter(embedded[t], s, a[t], embedded[t + 1], valid[t])

        # Imagine the window, with z from the posterior.
        h, predicted, features, zs, kls, kl_losses = embedded[C], [], [], [], [], []
        start = h.detach(), s.detach()
        for t in range(C, C + T):
            posterior = self.posterior(h, s, a[t], embedded[t + 1])
            if self.latent_dim:
                prior = self.prior(h, s, a[t])
                kl_loss, kl = losses.latent_kl(
                    posterior, prior, self.latent.free_bits, self.latent.prior_share
                )
                kl_losses.append(kl_loss)
                kls.append(kl)
            z = posterior.sample(noise[t])
            features.append(self.features(h, s))
            zs.append(z)
            following = self.predict(h, s, z, a[t])
            # After the episode's end the state is kept: the value reads the last one.
            s = torch.where(valid[t].unsqueeze(-1), following, s) if C else following
            h = self.expect(s)
            predicted.append(h)

        errors = losses.consistency(torch.stack(predicted), target[C + 1 :])
        shaped, metrics = self._shaped(embedded[C:], torch.stack(predicted), weights, extra)
        metrics["consistency"] = losses.weighted(errors, weights)
        loss = self.config.consistency * (metrics["consistency"] + shaped)
        if kls:
            metrics["kl"] = losses.weighted(torch.stack(kls), weights)
            kl_term = losses.weighted(torch.stack(kl_losses), weights)
            loss = loss + self.latent.kl_weight * kl_term
        last = self.features(embedded[-1], s).detach()
        return ModelLoss(loss, metrics, start, torch.stack(features), torch.stack(zs), last)

    def _shaped(
        self, h: Tensor, predicted: Tensor, weights: Tensor, directions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What else embeddings are to be, besides predictable: its loss () and its parts.

        Args:
            h: (T+1, S, H) of a window.
            predicted: (T, S, H) of its steps.
            weights: (T, S).
            directions: of SIGReg.
        """
        c = self.config
        parts: dict[str, tuple[float, Tensor]] = {}
        if c.slowness:
            # With small steps, distances of embeddings reflect the way between them, round walls.
            steps = losses.weighted(losses.consistency(h[1:], h[:-1]), weights)
            parts["slowness"] = c.slowness, steps
        if c.infonce:
            # What tells one moment from another has to be seen, not the most predictable alone.
            rows = predicted.flatten(0, 1), h[1:].flatten(0, 1), weights.flatten() > 0
            parts["infonce"] = c.infonce, losses.infonce(*rows, c.infonce_temperature)
        if c.anti_collapse == "vicreg":
            parts["variance"] = c.vicreg_variance, losses.variance(h.flatten(0, 1))
            parts["covariance"] = c.vicreg_covariance, losses.covariance(h.flatten(0, 1))
        if c.anti_collapse == "sigreg":
            parts["sigreg"] = c.sigreg, losses.sigreg(h.flatten(0, 1), directions)
        total = sum((weight * part for weight, part in parts.values()), start=h.new_zeros(()))
        return total, {name: part for name, (_, part) in parts.items()}

    def update_target(self) -> None:
        if self.target_encoder is not None:
            update_ema(self.target_encoder, self.encoder, self.config.encoder_ema)
