"""One gradient update: sub-sequences in, better model, value and policy out.

Shapes: S sequences, C = context - 1 filtered steps, T horizon, D observation, A action,
H embedding, F features, E value ensemble.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from worldplan.agent import losses
from worldplan.agent.compiling import Execution, prepare
from worldplan.agent.heads import Heads
from worldplan.agent.jepa import JEPA
from worldplan.agent.replay import Batch


class LearnerConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=128, ge=2, description="sub-sequences per update")
    horizon: int = Field(default=3, ge=1, description="steps the model is unrolled in training")
    learning_rate: float = Field(default=3e-4, gt=0, description="of Adam")
    encoder_scale: float = Field(default=0.3, gt=0, description="Enc's share of the learning rate")
    clip: float = Field(default=20.0, gt=0, description="largest gradient norm")
    decay: float = Field(default=0.5, gt=0, le=1, description="weight of each further step")
    consistency: float = Field(default=20.0, ge=0, description="weight of the embedding loss")
    reward: float = Field(default=0.1, ge=0, description="weight of the reward loss")
    continuation: float = Field(default=0.1, ge=0, description="weight of the continue loss")
    value: float = Field(default=0.1, ge=0, description="weight of the value loss")
    entropy: float = Field(default=1e-4, ge=0, description="weight of the policy's entropy")
    target_rate: float = Field(default=0.05, gt=0, le=1, description="value target's speed")
    encoder_ema: float = Field(
        default=0.0, ge=0, le=1, description="target encoder's speed; 0: Enc itself, stop-gradient"
    )
    vicreg_variance: float = Field(default=1.0, ge=0, description="weight of VICReg's variance")
    vicreg_covariance: float = Field(default=0.04, ge=0, description="and of its covariance")
    sigreg: float = Field(default=1.0, ge=0, description="weight of SIGReg")
    sigreg_directions: int = Field(default=128, ge=1, description="random directions of SIGReg")
    task_gradient: bool = Field(
        default=True, description="reward and value shape Enc and Pred; false: triples alone do"
    )


class Learner:
    """Model, heads and their optimiser. `update` is the training step."""

    def __init__(
        self,
        config: LearnerConfig,
        model: JEPA,
        heads: Heads,
        anti_collapse: str,
        discount: float,
        execution: Execution,
    ) -> None:
        self.config, self.model, self.heads = config, model, heads
        self.anti_collapse, self.discount = anti_collapse, discount
        self.target_encoder: nn.Module | None = None
        if config.encoder_ema:
            self.target_encoder = copy.deepcopy(model.encoder).requires_grad_(False)
        encoder: list[nn.Parameter] = list(model.encoder.parameters())
        known = {id(p) for p in encoder}
        others = [p for p in [*model.parameters(), *heads.parameters()] if id(p) not in known]
        self.parameters = [*encoder, *(p for p in others if p.requires_grad)]
        groups: list[dict[str, Any]] = [
            {"params": encoder, "lr": config.learning_rate * config.encoder_scale},
            {"params": self.parameters[len(encoder) :]},
        ]
        self.optimizer = torch.optim.Adam(
            groups,
            lr=config.learning_rate,
            fused=True,
        )
        self.value_scale = torch.ones(())  # running 5-95% range of values
        self._losses = prepare(
            self.losses, execution.compiled, execution.update_precision, dynamic=False
        )

    def update(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """One gradient step; returns its metrics, still as tensors (an `.item()` would wait)."""
        noise = self._noise(batch.reward.shape[0], generator)
        loss, metrics, values = self._losses(
            batch.observation, batch.action, batch.reward, batch.terminated, batch.valid,
            self.value_scale, *noise,
        )  # fmt: skip
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        metrics["gradient_norm"] = nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimizer.step()
        self.heads.follow(self.config.target_rate)
        if self.target_encoder is not None:
            torch._foreach_lerp_(
                list(self.target_encoder.parameters()),
                [p.detach() for p in self.model.encoder.parameters()],
                self.config.encoder_ema,
            )
        low, high = torch.quantile(values, torch.tensor([0.05, 0.95])).unbind()
        self.value_scale.lerp_((high - low).clamp(min=1.0), self.config.target_rate)
        return metrics

    def losses(
        self, x: Tensor, a: Tensor, reward: Tensor, terminated: Tensor, valid: Tensor,
        scale: Tensor, z_noise: Tensor, pi_noise: Tensor, next_noise: Tensor, directions: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:  # fmt: skip
        """Total loss, metrics, and the policy's values (S,).

        Args:
            x: (S, C+T+1, D), a: (S, C+T, A), the rest of the batch (S, C+T).
            z_noise: (C+T, S, E), pi_noise, next_noise: (S, A), directions: (H, K).
        """
        c, model, heads = self.config, self.model, self.heads
        C = model.context - 1
        a, reward, terminated, valid = (u.transpose(0, 1) for u in (a, reward, terminated, valid))
        embedded = model.encode(x.transpose(0, 1))

        # What Pred must hit. Regularised encoders are trained from both sides, others from one.
        target = embedded
        if self.target_encoder is not None:
            target = self.target_encoder(model.normaliser(x.transpose(0, 1)))
        elif self.anti_collapse in ("simnorm", "layernorm"):
            target = embedded.detach()

        # Filter the context into s, exactly as when acting.
        s = model.initial_state(embedded[0])
        for t in range(C):
            s = model.filter(embedded[t], s, a[t], embedded[t + 1], valid[t])

        # Imagine the window; z comes from what did happen.
        h, predicted, features, zs, kls, kl_losses = embedded[C], [], [], [], [], []
        start = model.features(h, s).detach()
        for t in range(C, C + c.horizon):
            posterior = model.posterior(h, s, a[t], embedded[t + 1])
            if model.latent_dim:
                prior = model.prior(h, s, a[t])
                latent = model.latent
                kl_loss, kl = losses.latent_kl(
                    posterior, prior, latent.free_bits, latent.prior_share
                )
                kl_losses.append(kl_loss)
                kls.append(kl)
            z = posterior.sample(z_noise[t])
            features.append(model.features(h, s))
            zs.append(z)
            following = model.predict(h, s, z, a[t])
            # Memory stands still after the episode's end: the value reads it at its last state.
            s = torch.where(valid[t].unsqueeze(-1), following, s) if C else following
            h = model.expect(s)
            predicted.append(h)
        f, z, acted = torch.stack(features), torch.stack(zs), a[C:]
        if not c.task_gradient:
            f, z = f.detach(), z.detach()

        # The value learns the return to the window's end, then the target's value there.
        with torch.no_grad():
            last = model.features(embedded[-1], s)
            action, _ = heads.act(last, next_noise)
            bootstrap = heads.code.decode(heads.target_values(last, action)).min(0).values
            returns = losses.window_returns(
                reward[C:], terminated[C:], valid[C:], bootstrap, self.discount
            )
        reward_logits, go_on = heads.outcomes(f, z, acted)
        value_logits = heads.values(f, acted)
        weights = losses.step_weights(valid[C:], c.decay)
        parts = {
            "consistency": losses.consistency(torch.stack(predicted), target[C + 1 :]),
            "reward": heads.code.loss(reward_logits, reward[C:]),
            "continuation": losses.continuation(go_on, terminated[C:]),
            "value": heads.code.loss(value_logits, returns.expand(value_logits.shape[:-1])).mean(0),
        }
        metrics = {name: losses.weighted(part, weights) for name, part in parts.items()}
        total = sum((getattr(c, name) * part for name, part in metrics.items()), start=scale * 0)
        if kls:
            metrics["kl"] = losses.weighted(torch.stack(kls), weights)
            kl_term = losses.weighted(torch.stack(kl_losses), weights)
            total = total + model.latent.kl_weight * kl_term
        flat = embedded[C:].flatten(0, 1)
        if self.anti_collapse == "vicreg":
            metrics["variance"], metrics["covariance"] = (
                losses.variance(flat),
                losses.covariance(flat),
            )
            regular = c.vicreg_variance * metrics["variance"]
            total = total + c.consistency * (regular + c.vicreg_covariance * metrics["covariance"])
        if self.anti_collapse == "sigreg":
            metrics["sigreg"] = losses.sigreg(flat, directions)
            total = total + c.consistency * c.sigreg * metrics["sigreg"]

        # The policy climbs the frozen value from where the window starts.
        action, log_prob = heads.act(start, pi_noise)
        value = heads.code.decode(heads.values(start, action, frozen=True)).mean(0)
        metrics["policy"] = losses.policy(value, log_prob, scale, c.entropy).mean()
        metrics["entropy"] = -log_prob.mean()
        metrics["value_mean"] = value.mean()
        total = total + metrics["policy"]
        return total, {k: v.detach() for k, v in metrics.items()}, value.detach()

    def _noise(self, sequences: int, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        steps = self.model.context - 1 + self.config.horizon
        rows = self.config.sigreg_directions if self.anti_collapse == "sigreg" else 0
        shapes = [
            (steps, sequences, self.model.noise_dim),
            (sequences, self.heads.action_dim),
            (sequences, self.heads.action_dim),
            (self.model.embedding_dim, rows),
        ]
        return tuple(torch.randn(shape, generator=generator) for shape in shapes)
