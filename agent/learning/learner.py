"""One gradient update: sub-sequences in, better model, value and policy out.

Shapes: S sequences, C = context - 1 filtered steps, T horizon, D observation, A action,
E noise of z.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from worldplan.agent.data.batch import Batch, sent
from worldplan.agent.learning import losses
from worldplan.agent.learning.compiling import Execution, prepare, tf32
from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.losses import step_weights, weighted
from worldplan.agent.models.networks import frozen, update_ema
from worldplan.agent.models.world_model import LearnedModel, imagine_step
from worldplan.envs import EnvironmentSpec


class LearnerConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch_size: int = Field(default=128, ge=2, le=100_000, description="sub-sequences per update")
    horizon: int = Field(
        default=3, ge=1, le=500, description="steps the model is unrolled in training"
    )
    learning_rate: float = Field(default=3e-4, gt=0, le=1, description="of Adam")
    encoder_scale: float = Field(
        default=0.3, gt=0, le=1000.0, description="Enc's share of the learning rate"
    )
    grad_clip_norm: float = Field(default=20.0, gt=0, le=1e9, description="largest gradient norm")
    rho: float = Field(default=0.5, gt=0, le=1, description="weight of each further step")
    reward: float = Field(default=0.1, ge=0, le=1e6, description="weight of the reward loss")
    continuation: float = Field(
        default=0.1, ge=0, le=1e6, description="weight of the continue loss"
    )
    value: float = Field(default=0.1, ge=0, le=1e6, description="weight of the value loss")
    imagination: int = Field(
        default=0,
        ge=0,
        le=500,
        description="steps the policy acts in the model before the value it climbs",
    )
    entropy: float = Field(default=1e-4, ge=0, le=1e6, description="weight of the policy's entropy")
    tau: float = Field(default=0.05, gt=0, le=1, description="EMA rate of the value target")
    task_gradient: bool = Field(
        default=True, description="reward and value shape Enc and Pred; false: triples alone do"
    )
    task_heads: bool = Field(
        default=True, description="reward, value and policy learn too; false: no reward is read"
    )

    def check(self, spec: EnvironmentSpec) -> None:
        """Raises ValueError if plans have nothing to be for while the agent trains in it."""
        if not self.task_heads and spec.sets_goals is False:
            raise ValueError(
                "learner.task_heads=false learns no reward, and this task sets no goals: the "
                "planner has nothing to act for; expected learner.task_heads=true, or `worldplan "
                "fit`, which learns from a data set and does not act"
            )


class UpdateNoise(NamedTuple):
    """All that is random in an update, standard normal."""

    z: Tensor  # (C+T, S, E)
    bootstrap: Tensor  # (S, A) of the action from whose value the target starts
    policy: Tensor  # (I+1, S, A) of the policy that learns, in I imagined steps and after them
    imagined: Tensor  # (I, S, E) of z in those steps
    extra: Tensor  # what the model asks for


class Learner:
    """Trains a copy of a model and its heads, which are what acts. `update` is the training step.

    Weights that are trained are bad at moments: those that act follow them as a moving average,
    `ema_rate` of the way after each update. At 1 there is no copy: what acts is trained itself.
    """

    def __init__(
        self,
        config: LearnerConfig,
        acting: tuple[LearnedModel, Heads],
        discount: float,
        ema_rate: float = 1.0,
        execution: Execution = Execution(),  # noqa: B008 (frozen)
    ) -> None:
        self.config, self.discount, self.ema_rate = config, discount, ema_rate
        self.device = execution.device
        self.acting = acting
        self.model, self.heads = acting
        if ema_rate < 1:
            self.model, self.heads = copy.deepcopy(acting)
            self.model.normaliser = acting[0].normaliser
            self.heads.unit = acting[1].unit
            for part in acting:
                part.requires_grad_(False)
        encoder: list[nn.Parameter] = list(self.model.encoder.parameters())
        known = {id(p) for p in encoder}
        others = [
            p for p in [*self.model.parameters(), *self.heads.parameters()] if id(p) not in known
        ]
        self.parameters = [*encoder, *(p for p in others if p.requires_grad)]
        groups: list[dict[str, Any]] = [
            {"params": encoder, "lr": config.learning_rate * config.encoder_scale},
            {"params": self.parameters[len(encoder) :]},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=config.learning_rate, fused=True)
        self.updates = 0  # made so far
        self._tails = torch.tensor([0.05, 0.95], device=self.device)
        self._imagine_step = frozen(imagine_step, self.model)
        self._outcomes = frozen(Heads.outcomes, self.heads)
        self._values = frozen(Heads.values, self.heads)
        self.prepare(execution)

    def prepare(self, execution: Execution) -> None:
        """From now on updates run as `execution` says, on the same device."""
        precision = execution.update_precision
        self._losses = prepare(
            self.losses, execution.compiled, precision, self.device, dynamic=False
        )
        self._gradients = tf32 if precision == "tf32" else nullcontext

    @property
    def value_scale(self) -> Tensor:
        """() running range of values, from their 5% to their 95% quantile; kept with the heads."""
        return self.heads.unit.spread

    def observe(self, x: Tensor) -> None:
        """Takes in observations (B, D) as they come, for their scale."""
        self.model.observe(sent(x, self.device))

    def observe_rewards(self, reward: Tensor, terminated: Tensor) -> None:
        """Takes in rewards (B,) as they come, for their unit, and whether episodes ended there."""
        self.heads.unit.update(reward)
        self.heads.unit.ended |= sent(terminated.any(), self.device)

    def update(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """One gradient step; returns its metrics, still as tensors (an `.item()` would wait).

        Args:
            generator: of noise, on the learner's device.
        """
        batch = batch.to(self.device)
        batch = replace(batch, observation=self.model.augment(batch.observation, generator))
        noise = self._noise(batch.reward.shape[0], generator)
        loss, metrics, values = self._losses(batch, self.value_scale, noise)
        self.optimizer.zero_grad()
        with self._gradients():
            loss.backward()  # type: ignore[no-untyped-call]
        clip = self.config.grad_clip_norm
        metrics["gradient_norm"] = nn.utils.clip_grad_norm_(self.parameters, clip)
        self.optimizer.step()
        self.model.update_target()
        if values is not None:
            tau = self.config.tau
            self.heads.update_target(tau)
            low, high = torch.quantile(values, self._tails).unbind()
            self.value_scale.lerp_((high - low).clamp(min=1.0), tau)
        if self.ema_rate < 1:
            # Early on, the average spans a tenth of the updates and not more.
            rate = max(self.ema_rate, 10 / (self.updates + 10))
            for acting, trained in zip(self.acting, (self.model, self.heads), strict=True):
                update_ema(acting, trained, rate)
        self.updates += 1
        return metrics

    def rehearse(self, batch: Batch) -> None:
        """Computes loss and gradient and forgets them: what has to be compiled is compiled now."""
        generator = torch.Generator(self.device).manual_seed(0)
        noise = self._noise(batch.reward.shape[0], generator)
        loss, *_ = self._losses(batch.to(self.device), self.value_scale, noise)
        with self._gradients():
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.zero_grad()

    def losses(
        self,
        batch: Batch,
        scale: Tensor,
        noise: UpdateNoise,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """Total loss, metrics, and the policy's values (S,), None if the heads do not learn.

        Args:
            batch: windows of C+T steps.
            scale: (), of values.
        """
        c, heads, C = self.config, self.heads, self.model.context - 1
        x, a, reward, terminated, valid = (
            u.transpose(0, 1)
            for u in (batch.observation, batch.action, batch.reward, batch.terminated, batch.valid)
        )
        weights = step_weights(valid[C:], c.rho)
        of_model = self.model.loss(x, a, valid, weights, noise.z, noise.extra)
        if not c.task_heads:
            return of_model.loss, {k: v.detach() for k, v in of_model.metrics.items()}, None
        a, reward, terminated, valid = (u[C:] for u in (a, reward, terminated, valid))
        reward = reward / heads.unit.value
        f, z = of_model.features, of_model.z
        if not c.task_gradient:
            f, z = f.detach(), z.detach()

        # The value learns the return to the window's end, then the target's value there.
        with torch.no_grad():
            action, _ = heads.act(of_model.last, noise.bootstrap)
            bootstrap = heads.code.decode(heads.target_values(of_model.last, action)).min(0).values
            returns = losses.window_returns(reward, terminated, valid, bootstrap, self.discount)
        reward_logits, go_on = heads.outcomes(f, z, a)
        value_logits = heads.values(f, a)
        parts = {
            "reward": heads.code.loss(reward_logits, reward),
            "continuation": losses.continuation(go_on, terminated),
            "value": heads.code.loss(value_logits, returns.expand(value_logits.shape[:-1])).mean(0),
        }
        task = {name: weighted(part, weights) for name, part in parts.items()}
        total = sum((getattr(c, name) * part for name, part in task.items()), start=of_model.loss)
        metrics = of_model.metrics | task

        # The policy climbs the frozen value from where the window starts.
        value, log_prob = self._imagine(*of_model.start, noise.imagined, noise.policy)
        metrics["policy"] = losses.policy(value, log_prob, scale, c.entropy).mean()
        metrics["entropy"] = -log_prob.mean()
        metrics["value_mean"] = value.mean() * heads.unit.value
        total = total + metrics["policy"]
        return total, {k: v.detach() for k, v in metrics.items()}, value.detach()

    def _imagine(
        self, h: Tensor, s: Tensor, noise: Tensor, pi_noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The policy acts for I steps in the model; then comes the value. All but it is frozen.

        For I > 0 the policy climbs what plans are scored by, through the model (stochastic value
        gradients: Heess et al. 2015, https://arxiv.org/abs/1510.09142).

        Args:
            h: (S, H), s: (S, S'), noise: (I, S, E) for z, pi_noise: (I+1, S, A).

        Returns:
            The return (S,), and the policy's log probability (S,), mean over its actions.
        """
        heads, code = self.heads, self.heads.code
        steps, log_probs = [], []
        for e, p in zip(noise, pi_noise[:-1], strict=True):
            f = self.model.features(h, s)
            action, log_prob = heads.act(f, p)
            h, s, z = self._imagine_step(h, s, action, e)
            steps.append(self._outcomes(f, z, action))
            log_probs.append(log_prob)
        f = self.model.features(h, s)
        action, log_prob = heads.act(f, pi_noise[-1])
        total = code.decode(self._values(f, action)).mean(0)
        for reward, go_on in reversed(steps):
            total = code.decode(reward) + self.discount * go_on.sigmoid() * total
        return total, torch.stack([*log_probs, log_prob]).mean(0)

    def _noise(self, sequences: int, generator: torch.Generator | None) -> UpdateNoise:
        c, model, width = self.config, self.model, self.heads.actions.size
        steps = model.context - 1 + c.horizon

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=self.device)

        return UpdateNoise(
            z=normal(steps, sequences, model.noise_dim),
            policy=normal(c.imagination + 1, sequences, width),
            bootstrap=normal(sequences, width),
            extra=normal(*model.extra_noise),
            imagined=normal(c.imagination, sequences, model.noise_dim),
        )
