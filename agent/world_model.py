"""The contract of every world model.

    h(t)   = Enc(x(t))                          embedding of the observation
    s(t+1) = Pred(h(t), s(t), z(t), a(t))       next state of the world

`Enc` and `Pred` are deterministic and trained; z is drawn from a distribution or varied over a
set, and parameterises what could happen; a is what the agent does (LeCun 2022, "A Path Towards
Autonomous Machine Intelligence").

Imagine: z ~ prior, s = predict(h, s, z, a), h = expect(s), and again.
Filter:  the same, with z from the posterior once the next observation is there.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from worldplan.agent.latent import LatentDistribution


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
