"""What the agent reads off the world: reward, continuation, value, and a policy prior.

Shapes: ... any leading shape, F features, Z latent, A action, E value ensemble, K bins.
"""

from __future__ import annotations

import copy

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from worldplan.agent.learning.units import RewardUnit
from worldplan.agent.models.networks import MLP, EnsembleMLP, TwoHot, update_ema
from worldplan.agent.models.size import Size, mlp_size
from worldplan.agent.models.world_model import Model
from worldplan.planners import ActionSpace


class HeadsConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    width: int = Field(
        default=256, ge=1, le=16_384, description="width of hidden layers of value and policy"
    )
    layers: int = Field(default=2, ge=1, le=32, description="hidden layers of value and policy")
    outcome_width: int = Field(
        default=128, ge=1, le=16_384, description="width of reward and continue head"
    )
    values: int = Field(default=2, ge=1, le=100, description="members of the value ensemble")
    bins: int = Field(
        default=65, ge=3, le=10_001, description="bins of the two-hot reward and value"
    )
    limit: float = Field(default=10.0, gt=0, le=80, description="largest |symlog| a bin can hold")
    min_log_std: float = Field(
        default=-5.0, ge=-20, le=5, description="policy's least log standard deviation"
    )
    max_log_std: float = Field(
        default=1.0, ge=-20, le=5, description="policy's largest log standard deviation"
    )

    @model_validator(mode="after")
    def _least_and_largest(self) -> HeadsConfig:
        if self.min_log_std > self.max_log_std:
            raise ValueError(
                f"min_log_std ({self.min_log_std}) must not exceed max_log_std ({self.max_log_std})"
            )
        return self

    def size(self, model: Size, action: int) -> Size:
        """About how large the heads on a model of this size are, for actions (A,)."""
        seen = model.kept + action
        outcome = mlp_size(seen, self.bins + 1, self.outcome_width, 2)
        value = mlp_size(seen, self.bins, self.width, self.layers).times(2 * self.values)
        policy = mlp_size(seen, 2 * action, self.width, self.layers)
        return outcome + value + policy + Size(kept=outcome.hidden + 2 * action)


class Heads(nn.Module):
    """Reward and continue share one network; the value is an ensemble with a slow target copy.

    Rewards and values are in `unit`s.

    Of a model without an action variable the heads do not see actions either: what happens then
    depends on the observation and on chance alone.
    """

    def __init__(self, config: HeadsConfig, model: Model, actions: ActionSpace) -> None:
        super().__init__()
        self.config = c = config
        self.actions, self.sees_action = actions, model.uses_action
        features, latent, action = model.feature_dim, model.latent_dim, actions.size
        self.unit, self.code = RewardUnit(), TwoHot(c.bins, c.limit)
        # Reward and continuation may depend on chance, so they see z.
        self.outcome = MLP(features + latent + action, c.bins + 1, c.outcome_width, 2)
        with torch.no_grad():
            last = self.outcome[-1]
            assert isinstance(last, nn.Linear)
            last.weight.zero_()  # start at reward 0 ...
            last.bias[-1] = 4.0  # ... and at "goes on" (98%): most steps do
        self.value = EnsembleMLP(c.values, features + action, c.bins, c.width, c.layers)
        self.target_value = copy.deepcopy(self.value).requires_grad_(False)
        self.policy = MLP(features, actions.policy_size, c.width, c.layers, zero_output=True)

    def outcomes(self, f: Tensor, z: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Reward logits (..., K) and continue logit (...)."""
        out = self.outcome(torch.cat([f, z, self._seen(a)], -1))
        return out[..., :-1], out[..., -1]

    def values(self, f: Tensor, a: Tensor) -> Tensor:
        """Value logits (E, ..., K)."""
        logits: Tensor = self.value(torch.cat([f, self._seen(a)], -1))
        return logits

    def target_values(self, f: Tensor, a: Tensor) -> Tensor:
        """Value logits of the slow copy (E, ..., K)."""
        logits: Tensor = self.target_value(torch.cat([f, self._seen(a)], -1))
        return logits

    def act(self, f: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Policy sample (..., A) and its log probability (...); noise 0 (..., A) is the mode."""
        log_std = self.config.min_log_std, self.config.max_log_std
        return self.actions.sample(self.policy(f), noise, log_std)

    def _seen(self, a: Tensor) -> Tensor:
        return a if self.sees_action else torch.zeros_like(a)

    def update_target(self, tau: float) -> None:
        """Moves the target a fraction `tau` towards the value."""
        update_ema(self.target_value, self.value, tau)
