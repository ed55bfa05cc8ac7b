"""The networks of Enc, one for each kind of observation. A new kind is one more line here."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from worldplan.agent.models.networks import MLP
from worldplan.envs import ObservationSpec


def mlp(observation: ObservationSpec, embedding: int, width: int) -> nn.Module:
    """Of vectors (D,). One hidden layer, as in TD-MPC2: few numbers need no more."""
    return MLP(observation.size, embedding, width, 1)


ENCODERS: dict[str, Callable[[ObservationSpec, int, int], nn.Module]] = {"vector": mlp}


def make_encoder(observation: ObservationSpec, embedding: int, width: int) -> nn.Module:
    """The network that reads such observations, normalised, into vectors of width `embedding`."""
    return ENCODERS[observation.kind](observation, embedding, width)
