"""The contract of every world model.

    h(t)   = Enc(x(t))                          embedding of the observation
    s(t+1) = Pred(h(t), s(t), z(t), a(t))       next state of the world

`Enc` and `Pred` are deterministic and trained; z is drawn from a distribution or varied over a
set, and parameterises what could happen; a is what the agent does. Equation and terms are those of
LeCun's post of 20 February 2024, "Lots of confusion about what a world model is",
https://www.linkedin.com/posts/yann-lecun_lots-of-confusion-about-what-a-world-model-activity-7165738293223931904-vdgR
and the idea that of LeCun 2022, "A Path Towards Autonomous Machine Intelligence",
https://openreview.net/forum?id=BZ5a1r-kVsf.

Imagine: z ~ prior, s = predict(h, s, z, a), h = expect(s), and again.
Filter:  the same, with z from the posterior once the next observation is there.
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
from worldplan.envs import EnvironmentSpec


class WorldModel(Protocol):
    """Batch-first; ... any leading shape. H embedding, S state, Z latent, A action, F features."""

    context: int  # past observations filtered into s before predicting; the same in all uses
    embedding_dim: int  # H
    latent_dim: int  # Z
    noise_dim: int  # E, width of the standard normal noise that `prior(...).sample` takes
    feature_dim: int  # F

    def encode(self, x: Tensor) -> Tensor:
        """Enc: x (..., D) -> h (..., H)."""

    def initial_state(self, h: Tensor) -> Tensor:
        """State before anything was remembered: h (..., H) -> s (..., S)."""

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        """Pred: next state (..., S); deterministic given z."""

    def expect(self, s: Tensor) -> Tensor:
        """The embedding that s predicts for its own time (..., H): h's stand-in when imagining."""

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        """p(z | h, s, a): what could happen."""

    def posterior(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor) -> LatentDistribution:
        """q(z | h, s, a, h'): what did happen; for training and filtering only."""

    def filter(self, h: Tensor, s: Tensor, a: Tensor, h_next: Tensor, valid: Tensor) -> Tensor:
        """State at the next step (..., S), after seeing h_next; where not valid (...) anew."""

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        """What heads read (..., F): h and what s remembers, without what s predicts of h itself."""


def imagine_step(
    model: WorldModel, h: Tensor, s: Tensor, a: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The next h (..., H) and s (..., S), and the z (..., Z) that noise (..., E) makes of p(z)."""
    z = model.prior(h, s, a).sample(noise)
    s = model.predict(h, s, z, a)
    return model.expect(s), s, z


def filter_context(model: WorldModel, h: Tensor, a: Tensor, valid: Tensor) -> Tensor:
    """State (..., S) after C = context - 1 steps.

    Args:
        h: (..., C+1 or more, H), oldest first, a: (..., C or more, A), valid: (..., C or more).
    """
    s = model.initial_state(h[..., 0, :])
    for t in range(model.context - 1):
        s = model.filter(h[..., t, :], s, a[..., t, :], h[..., t + 1, :], valid[..., t])
    return s


@dataclass(frozen=True)
class ImaginedTrajectory:
    """What the model says happens under given actions and given latent noise, in R rows."""

    h: Tensor  # (T+1, R, H)
    features: Tensor  # (T+1, R, F)
    z: Tensor  # (T, R, Z)
    actions: Tensor  # (T, R, A)
    reward: Tensor | None = None  # (T, R) the true ones, where the model knows them


def imagine(
    model: WorldModel, h: Tensor, s: Tensor, actions: Tensor, noise: Tensor
) -> ImaginedTrajectory:
    """Rolls the model forward from h (R, H), s (R, S) under actions (T,R,A), noise (T,R,E)."""
    hs, fs, zs = [h], [model.features(h, s)], []
    for a, e in zip(actions, noise, strict=True):
        h, s, z = imagine_step(model, h, s, a, e)
        hs.append(h)
        fs.append(model.features(h, s))
        zs.append(z)
    return ImaginedTrajectory(torch.stack(hs), torch.stack(fs), torch.stack(zs), actions)


@dataclass(frozen=True)
class ModelLoss:
    """What a model makes of S windows of T steps: its own loss, and what the heads learn from."""

    loss: Tensor  # (), weighted: what is to be minimised
    metrics: dict[str, Tensor]  # of (), to be logged
    start: Tensor  # (S, F) features at the window's start
    features: Tensor  # (T, S, F) before each step
    z: Tensor  # (T, S, Z) what happened, of which heads are told
    last: Tensor  # (S, F) after the last step


class ModelConfig(BaseModel):
    """Settings of a family of world models; its defaults for the rest of a run, and its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    learns: ClassVar[bool] = True  # whether there is anything to train

    def defaults(self) -> dict[str, Any]:
        """Settings of the run that suit this model: above a preset's, beneath the user's."""
        return {}

    def check(self, run: Any) -> None:
        """Raises ValueError for a run (a RunConfig) that asks for what this model cannot do."""


class Model(nn.Module, WorldModel):
    """A world model of any family, learned or not."""

    uses_action: bool = True  # without a it can be watched, not steered; no head sees a then
    unrolls: bool = False  # Pred runs a network in a loop: compiling a decision would unroll it

    def __init__(self, spec: EnvironmentSpec) -> None:
        """`spec` is that of the environments that it is a model of."""
        super().__init__()
        self.spec = spec

    def imagine(self, h: Tensor, s: Tensor, actions: Tensor, noise: Tensor) -> ImaginedTrajectory:
        """See the function `imagine`."""
        return imagine(self, h, s, actions, noise)

    def information(self, posterior: LatentDistribution, prior: LatentDistribution) -> Tensor:
        """Nats (...) that z carries: the divergence of what did happen from what could."""
        return posterior.kl(prior)


class LearnedModel(Model):
    """A world model that the learner trains, whatever its family."""

    encoder: nn.Module  # Enc's weights, which learn at a speed of their own; may have none
    normaliser: Normaliser  # takes in observations as they come
    extra_noise: tuple[int, int] = (0, 0)  # normal numbers that `loss` wants beside z's noise

    def observe(self, x: Tensor) -> None:
        """Takes in observations (B, D) as they come, for their scale."""
        self.normaliser.update(x)

    @property
    def can_collapse(self) -> bool:
        """Whether Enc learns: the identity cannot make everything look the same."""
        return any(True for _ in self.encoder.parameters())

    @abstractmethod
    def loss(
        self, x: Tensor, a: Tensor, valid: Tensor, weights: Tensor, noise: Tensor, extra: Tensor
    ) -> ModelLoss:
        """Losses of the model alone, from triples (x, a, x').

        C = context - 1 steps are filtered, then T predicted.

        Args:
            x: (C+T+1, S, D), a: (C+T, S, A), valid: (C+T, S), noise: (C+T, S, E) for z.
            weights: (T, S) of each step's loss.
            extra: normal, of shape `extra_noise`.
        """

    def follow(self) -> None:
        """Called after each gradient step: slow copies, if there are any, follow."""
