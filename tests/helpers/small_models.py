"""Models small enough for a test, random data for them, and their training."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from worldplan.agent.data.batch import Batch
from worldplan.agent.learning.heads import Heads, HeadsConfig
from worldplan.agent.learning.learner import Learner, LearnerConfig
from worldplan.agent.models.jepa import JEPA, JEPAConfig
from worldplan.envs import EnvironmentSpec
from worldplan.planners import ActionSpace, Box

M = TypeVar("M", bound=nn.Module)
LATENTS: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "gaussian": {"kind": "gaussian", "dim": 4},
    "categorical": {"kind": "categorical", "groups": 2, "classes": 4},
}
ANTI_COLLAPSE: dict[str, dict[str, Any]] = {
    "simnorm": {},
    "layernorm": {"encoder_ema": 0.01},
    "vicreg": {},
    "sigreg": {"sigreg_directions": 32},
}


class JEPALearner(Learner):
    """A learner whose model is a JEPA, for the type checker."""

    model: JEPA


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(
    observation: int,
    action: int | ActionSpace,
    model: dict[str, Any] | None = None,
    heads: dict[str, Any] | None = None,
    discount: float = 0.9,
    seed: int = 0,
    **learner: Any,
) -> JEPALearner:
    """A small learner. Settings on which tests depend are set here, not left to the defaults.

    `learner` may also contain weights of the model's own losses.
    """
    torch.manual_seed(seed)
    settings = {
        **{
            "horizon": 1,
            "learning_rate": 1e-3,
            "encoder_scale": 1.0,
            "rho": 0.5,
            "grad_clip_norm": 20.0,
        },
        **{"consistency": 20.0, "reward": 0.1, "continuation": 0.1, "value": 0.1},
        **{"entropy": 1e-4, "tau": 0.01, "encoder_ema": 0.0, "task_gradient": True},
        **{"vicreg_variance": 1.0, "vicreg_covariance": 0.04, "sigreg": 1.0},
        **learner,
    }
    own = {k: settings.pop(k) for k in list(settings) if k in JEPAConfig.model_fields}
    config = JEPAConfig.model_validate(
        {"embedding": 32, "width": 64, "memory": 16, "latent": LATENTS["none"], **own}
        | (model or {})
    )
    sizes = {"width": 32, "layers": 1, "outcome_width": 32, "bins": 21, "limit": 3.0}
    actions = Box(action) if isinstance(action, int) else action
    jepa = JEPA(config, EnvironmentSpec.vectors(observation, actions.size))
    jepa_heads = Heads(HeadsConfig.model_validate({**sizes, **(heads or {})}), jepa, actions)
    return JEPALearner(LearnerConfig.model_validate(settings), (jepa, jepa_heads), discount)


def window(x: Tensor, a: Tensor, reward: Tensor | None = None) -> Batch:
    """Windows in which no episode ends."""
    zero = torch.zeros(a.shape[:2])
    return Batch(x, a, zero if reward is None else reward, zero, zero == 0)


def train(
    learner: Learner, draw: Callable[[torch.Generator], Batch], updates: int, seed: int = 0
) -> dict[str, float]:
    """Trains; returns the mean metrics of the last fifth of the updates.

    In these the learning rate is a tenth.
    """
    generator = rng(seed)
    for _ in range(10):
        learner.observe(draw(generator).observation.flatten(0, 1))
    late = updates - updates // 5
    sums: dict[str, float] = {}
    for step in range(updates):
        if step == late:
            for group in learner.optimizer.param_groups:
                group["lr"] *= 0.1
        metrics = learner.update(draw(generator), generator)
        if step >= late:
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + float(value) / (updates - late)
    return sums


def noise_batch(
    learner: Learner, sequences: int = 8, seed: int = 0, observation: int = 3, action: int = 2
) -> Batch:
    """Windows of noise. One terminates, and one is truncated before its end."""
    steps, generator = learner.model.context - 1 + learner.config.horizon, rng(seed)
    batch = window(
        torch.randn(sequences, steps + 1, observation, generator=generator),
        2 * torch.rand(sequences, steps, action, generator=generator) - 1,
        torch.randn(sequences, steps, generator=generator),
    )
    batch.terminated[0, -1] = 1
    batch.valid[1, -1] = False
    return batch


def gradients(learner: Learner, batch: Batch) -> dict[str, Tensor]:
    """Gradients of the total loss by parameter name; zero for unused parameters."""
    noise = learner._noise(len(batch.reward), rng())
    loss, _, _ = learner.losses(
        batch,
        learner.value_scale,
        noise,
    )
    named = {f"model.{k}": p for k, p in learner.model.named_parameters() if p.requires_grad}
    named |= {f"heads.{k}": p for k, p in learner.heads.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(
        loss, list(named.values()), materialize_grads=True, allow_unused=True
    )
    return dict(zip(named, grads, strict=True))


def stir(model: M) -> M:
    """Adds noise to the weights, so that every input has an effect."""
    generator = rng(7)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model


def stirred(kind: str, context: int, **model: Any) -> JEPA:
    return stir(make(3, 2, {"latent": LATENTS[kind], "context": context, **model}).model)
