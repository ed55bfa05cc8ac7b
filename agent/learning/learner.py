"""One gradient update: sub-sequences in, better model, value and policy out.

Shapes: S sequences, C = context - 1 filtered steps, T horizon, D observation, A action,
E noise of z.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from worldplan.agent.data.replay import Batch
from worldplan.agent.learning import losses
from worldplan.agent.learning.compiling import Execution, prepare
from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.losses import step_weights, weighted
from worldplan.agent.models.world_model import LearnedModel


class LearnerConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=128, ge=2, description="sub-sequences per update")
    horizon: int = Field(default=3, ge=1, description="steps the model is unrolled in training")
    learning_rate: float = Field(default=3e-4, gt=0, description="of Adam")
    encoder_scale: float = Field(default=0.3, gt=0, description="Enc's share of the learning rate")
    clip: float = Field(default=20.0, gt=0, description="largest gradient norm")
    decay: float = Field(default=0.5, gt=0, le=1, description="weight of each further step")
    reward: float = Field(default=0.1, ge=0, description="weight of the reward loss")
    continuation: float = Field(default=0.1, ge=0, description="weight of the continue loss")
    value: float = Field(default=0.1, ge=0, description="weight of the value loss")
    entropy: float = Field(default=1e-4, ge=0, description="weight of the policy's entropy")
    target_rate: float = Field(default=0.05, gt=0, le=1, description="value target's speed")
    task_gradient: bool = Field(
        default=True, description="reward and value shape Enc and Pred; false: triples alone do"
    )
    task_heads: bool = Field(
        default=True, description="reward, value and policy learn too; false: no reward is read"
    )


class Learner:
    """Model, heads and their optimiser. `update` is the training step."""

    def __init__(
        self,
        config: LearnerConfig,
        model: LearnedModel,
        heads: Heads,
        discount: float,
        execution: Execution,
    ) -> None:
        self.config, self.model, self.heads, self.discount = config, model, heads, discount
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
        self.model.follow()
        if values is None:
            return metrics
        self.heads.follow(self.config.target_rate)
        low, high = torch.quantile(values, torch.tensor([0.05, 0.95])).unbind()
        self.value_scale.lerp_((high - low).clamp(min=1.0), self.config.target_rate)
        return metrics

    def losses(
        self, x: Tensor, a: Tensor, reward: Tensor, terminated: Tensor, valid: Tensor,
        scale: Tensor, z_noise: Tensor, pi_noise: Tensor, next_noise: Tensor, extra: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:  # fmt: skip
        """Total loss, metrics, and the policy's values (S,), None if the heads do not learn.

        Args:
            x: (S, C+T+1, D), a: (S, C+T, A), the rest of the batch (S, C+T).
            z_noise: (C+T, S, E), pi_noise, next_noise: (S, A), extra: what the model asks for.
        """
        c, heads, C = self.config, self.heads, self.model.context - 1
        x, a, reward, terminated, valid = (
            u.transpose(0, 1) for u in (x, a, reward, terminated, valid)
        )
        weights = step_weights(valid[C:], c.decay)
        lesson = self.model.learn(x, a, valid, weights, z_noise, extra)
        if not c.task_heads:
            return lesson.loss, {k: v.detach() for k, v in lesson.metrics.items()}, None
        a, reward, terminated, valid = (u[C:] for u in (a, reward, terminated, valid))
        f, z, start, last = lesson.features, lesson.z, lesson.start, lesson.last
        if not c.task_gradient:
            f, z = f.detach(), z.detach()

        # The value learns the return to the window's end, then the target's value there.
        with torch.no_grad():
            action, _ = heads.act(last, next_noise)
            bootstrap = heads.code.decode(heads.target_values(last, action)).min(0).values
            returns = losses.window_returns(reward, terminated, valid, bootstrap, self.discount)
        reward_logits, go_on = heads.outcomes(f, z, a)
        value_logits = heads.values(f, a)
        parts = {
            "reward": heads.code.loss(reward_logits, reward),
            "continuation": losses.continuation(go_on, terminated),
            "value": heads.code.loss(value_logits, returns.expand(value_logits.shape[:-1])).mean(0),
        }
        task = {name: weighted(part, weights) for name, part in parts.items()}
        total = sum((getattr(c, name) * part for name, part in task.items()), start=lesson.loss)
        metrics = lesson.metrics | task

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
        shapes = [
            (steps, sequences, self.model.noise_dim),
            (sequences, self.heads.action_dim),
            (sequences, self.heads.action_dim),
            self.model.extra_noise,
        ]
        return tuple(torch.randn(shape, generator=generator) for shape in shapes)
