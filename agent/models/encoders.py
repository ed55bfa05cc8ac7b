"""The networks of Enc, one for each kind of observation. A new kind is one more line here."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from worldplan.agent.models.networks import MLP
from worldplan.envs import ObservationSpec


def mlp(observation: ObservationSpec, embedding: int, width: int) -> nn.Module:
    """An encoder of vectors (..., D) -> (..., embedding). One hidden layer, as in TD-MPC2."""
    return MLP(observation.size, embedding, width, 1)


ENCODERS: dict[str, Callable[[ObservationSpec, int, int], nn.Module]] = {"vector": mlp}


def make_encoder(observation: ObservationSpec, embedding: int, width: int) -> nn.Module:
    """The network that reads normalised observations into vectors of size `embedding`."""
    return ENCODERS[observation.kind](observation, embedding, width)
