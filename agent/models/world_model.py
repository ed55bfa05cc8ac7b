"""The contract of every world model.

    h(t)   = Enc(x(t))                          embedding of the observation
    s(t+1) = Pred(h(t), s(t), z(t), a(t))       next state of the world

`Enc` and `Pred` are deterministic and trained. z represents the unknown: it is sampled from a
distribution, or varied over a set, and parameterises the possible predictions. a is the action. The
equation is from LeCun's post of 20 February 2024, "Lots of confusion about what a world model is",
https://www.linkedin.com/posts/yann-lecun_lots-of-confusion-about-what-a-world-model-activity-7165738293223931904-vdgR
and the architecture from LeCun 2022, "A Path Towards Autonomous Machine Intelligence",
https://openreview.net/forum?id=BZ5a1r-kVsf.

Imagine: z ~ prior, s = predict(h, s, z, a), h = expect(s), repeated.
Filter:  the same, with z from the posterior, given the next observation.

Shapes: ... any leading shape, D observation, H embedding, S state, Z latent, E noise of the latent,
A action, F features; R rows, T steps, B batch; in training S sequences, C = context - 1 filtered
steps.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from worldplan.agent.models.latent import LatentDistribution
from worldplan.agent.models.networks import Normaliser
from worldplan.agent.models.size import Size
from worldplan.envs import EnvironmentSpec


class WorldModel(Protocol):
    """What planning and training need of a world model. All methods take any leading shape."""

    context: int  # observations that s depends on, in training as in acting; 1: Markov
    embedding_dim: int  # H
    latent_dim: int  # Z
    noise_dim: int  # E, width of the standard normal noise that `prior(...).sample` takes
    feature_dim: int  # F

    def encode(self, x: Tensor) -> Tensor:
        """Enc: x (..., D) -> h (..., H)."""

    def initial_state(self, h: Tensor) -> Tensor:
        """State without memory: h (..., H) -> s (..., S)."""

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        """Pred: h (..., H), s (..., S), z (..., Z), a (..., A) -> next state (..., S)."""

    def expect(self, s: Tensor) -> Tensor:
        """The embedding (..., H) that s (..., S) predicts for its time, used as h to imagine."""

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        """p(z | h, s, a), from which z is sampled to imagine."""

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        """q(z | h, s, a, h_next), for training and filtering."""

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        """Next state (..., S), given h_next; where not valid (...), its initial state."""

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        """Inputs (..., F) of the heads: h and the memory in s, without the prediction of h."""


def imagine_step(
    model: WorldModel, h: Tensor, s: Tensor, a: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Imagines one step with z = prior.sample(noise).

    Args:
        h: (..., H), s: (..., S), a: (..., A), noise: (..., E) standard normal.

    Returns:
        Next h (..., H), next s (..., S), and z (..., Z).
    """
    z = model.prior(h, s, a).sample(noise)
    s = model.predict(h, s, z, a)
    return model.expect(s), s, z


def filter_context(model: WorldModel, h: Tensor, a: Tensor, valid: Tensor) -> Tensor:
    """State (..., S) after filtering C = context - 1 steps.

    Args:
        h: (..., C+1 or more, H), oldest first, a: (..., C or more, A), valid: (..., C or more).
    """
    s = model.initial_state(h[..., 0, :])
    for t in range(model.context - 1):
        s = model.filter(h[..., t, :], s, a[..., t, :], h[..., t + 1, :], valid[..., t])
    return s


@dataclass(frozen=True)
class ImaginedTrajectory:
    """Predictions of the model for R rows, under given actions and latent noise."""

    h: Tensor  # (T+1, R, H)
    features: Tensor  # (T+1, R, F)
    z: Tensor  # (T, R, Z)
    actions: Tensor  # (T, R, A)
    reward: Tensor | None = None  # (T, R) true rewards, if the model has them
    s: Tensor | None = None  # (R, S) after the last step, if it can go on from there


def imagine(
    model: WorldModel, h: Tensor, s: Tensor, actions: Tensor, noise: Tensor
) -> ImaginedTrajectory:
    """Imagines T steps from h (R, H), s (R, S) under actions (T, R, A) and noise (T, R, E)."""
    hs, fs, zs = [h], [model.features(h, s)], []
    for a, e in zip(actions, noise, strict=True):
        h, s, z = imagine_step(model, h, s, a, e)
        hs.append(h)
        fs.append(model.features(h, s))
        zs.append(z)
    return ImaginedTrajectory(torch.stack(hs), torch.stack(fs), torch.stack(zs), actions, s=s)


@dataclass(frozen=True)
class ModelLoss:
    """Loss of a model on S windows of T steps, and the inputs of the heads."""

    loss: Tensor  # (), weighted sum to minimise
    metrics: dict[str, Tensor]  # scalars () to log
    start: tuple[Tensor, Tensor]  # h (S, H), s (S, S') where the window starts, without gradient
    features: Tensor  # (T, S, F) features before each step
    z: Tensor  # (T, S, Z) sampled from the posterior
    last: Tensor  # (S, F) features after the last step


class ModelConfig(BaseModel):
    """Settings of a family of world models, and what a run with it has to respect."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    learns: ClassVar[bool] = True  # whether the model is trained

    def defaults(self) -> dict[str, Any]:
        """Settings of a run that suit this model.

        They override those of a preset. The user's settings override them.
        """
        return {}

    def size(self, spec: EnvironmentSpec) -> Size:
        """About how large the model is, for environments with this spec.

        By default that of a model without networks, whose state is the observation.
        """
        D = spec.observation.size
        return Size(hidden=2 * D, kept=3 * D, context=1)

    def check(self, run: Any) -> None:
        """Checks the settings of a run (RunConfig).

        Raises:
            ValueError: the model cannot be used with them.
        """


class Model(nn.Module, WorldModel):
    """Base class of all world models, learned or not."""

    observations: ClassVar[tuple[str, ...]] = ("vector",)  # kinds that it can take
    uses_action: bool = True  # else predictions do not depend on a, nor do the heads
    unrolls: bool = False  # Pred runs a network in a loop, which compiling would unroll

    def __init__(self, spec: EnvironmentSpec) -> None:
        """Makes a model of environments with this spec."""
        super().__init__()
        self.spec = spec

    def encode_goal(self, goal: Tensor) -> Tensor:
        """h (B, H) of an observation to be reached (B, D)."""
        return self.encode(goal)

    def imagine(self, h: Tensor, s: Tensor, actions: Tensor, noise: Tensor) -> ImaginedTrajectory:
        """See the function `imagine`."""
        return imagine(self, h, s, actions, noise)

    def information(self, posterior: LatentDistribution, prior: LatentDistribution) -> Tensor:
        """Information (...) in z, in nats: KL of the posterior from the prior."""
        return posterior.kl(prior)


class LearnedModel(Model):
    """Base class of world models that the learner trains."""

    encoder: nn.Module  # Enc, which has its own learning rate; may have no weights
    normaliser: Normaliser  # statistics of the observations so far
    extra_noise: tuple[int, int] = (0, 0)  # shape of the normal noise `extra` of `loss`

    def observe(self, x: Tensor) -> None:
        """Adds new observations (B, D) to the statistics of the normaliser."""
        self.normaliser.update(x)

    def encode_goal(self, goal: Tensor) -> Tensor:
        """The same; what is NaN, of which a task says nothing, is taken to be as on average."""
        return self.encode(torch.where(goal.isnan(), self.normaliser.shift, goal))

    def augment(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Observations (S, C+T+1, D) of windows, as they are learned from."""
        return x

    @property
    def can_collapse(self) -> bool:
        """Whether the embedding can collapse: only if Enc is trained."""
        return any(True for _ in self.encoder.parameters())

    @abstractmethod
    def loss(
        self, x: Tensor, a: Tensor, valid: Tensor, weights: Tensor, noise: Tensor, extra: Tensor
    ) -> ModelLoss:
        """Loss of the model alone, from transitions (x, a, x') without rewards.

        C steps are filtered, then T steps are predicted.

        Args:
            x: (C+T+1, S, D), a: (C+T, S, A), valid: (C+T, S), noise: (C+T, S, E) for z.
            weights: (T, S) of the losses of the steps.
            extra: standard normal, of shape `extra_noise`.
        """

    def update_target(self) -> None:
        """Called after each gradient step, to update EMA copies, if the model has any."""
