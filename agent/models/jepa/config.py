"""Settings of the default world model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from worldplan.agent.models.encoders import PicturesConfig, encoder_size
from worldplan.agent.models.latent import LatentConfig, NoLatentConfig
from worldplan.agent.models.size import Size, mlp_size
from worldplan.agent.models.world_model import ModelConfig
from worldplan.envs import EnvironmentSpec


class JEPAConfig(ModelConfig):
    """Settings of `JEPA`."""

    kind: Literal["jepa"] = "jepa"
    embedding: int = Field(default=128, ge=1, le=16_384, description="size of h")
    width: int = Field(default=256, ge=1, le=16_384, description="width of hidden layers")
    layers: int = Field(default=2, ge=1, le=32, description="hidden layers of Pred")
    pictures: PicturesConfig = Field(
        default_factory=PicturesConfig, description="Enc of observations with pictures"
    )
    context: int = Field(
        default=1, ge=1, le=500, description="observations filtered into s; 1 is Markov"
    )
    memory: int = Field(
        default=128, ge=1, le=16_384, description="size of the memory in s; unused if context=1"
    )
    anti_collapse: Literal["simnorm", "layernorm", "vicreg", "sigreg", "none"] = Field(
        default="simnorm", description="method against collapse of the embedding"
    )
    simnorm_group: int = Field(
        default=8, ge=2, le=16_384, description="classes per simplex of SimNorm"
    )
    latent: LatentConfig = Field(default_factory=NoLatentConfig, description="latent variable z")
    action: bool = Field(default=True, description="whether the model reads actions")
    consistency: float = Field(
        default=20.0, ge=0, le=1e6, description="weight of the embedding loss"
    )
    encoder_ema: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="EMA rate of a target encoder; 0: Enc with stop-gradient",
    )
    vicreg_variance: float = Field(
        default=1.0, ge=0, le=1e6, description="weight of VICReg's variance"
    )
    vicreg_covariance: float = Field(
        default=0.04, ge=0, le=1e6, description="weight of VICReg's covariance"
    )
    slowness: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="weight of the change of h per step (PLDM's time similarity)",
    )
    infonce: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="weight of telling which h comes next among all of the batch (InfoNCE)",
    )
    infonce_temperature: float = Field(
        default=0.25,
        gt=0,
        le=1e6,
        description="mean squared difference of h that makes a moment e times less likely",
    )
    sigreg: float = Field(default=1.0, ge=0, le=1e6, description="weight of SIGReg")
    sigreg_directions: int = Field(
        default=128, ge=1, le=16_384, description="random directions of SIGReg"
    )

    def size(self, spec: EnvironmentSpec) -> Size:
        A, z = spec.action.size, self.latent
        memory = self.memory if self.context > 1 else 0
        seen = self.embedding + memory + A
        size = Size(kept=2 * self.embedding + 2 * memory + z.width, context=self.context)
        size += encoder_size(spec.observation, self.embedding, self.width, self.pictures)
        size += mlp_size(seen + z.width, self.embedding, self.width, self.layers)
        if memory:
            size += Size((seen + z.width) * 3 * memory, 6 * memory)
        if z.parameters:
            size += mlp_size(seen, z.parameters, self.width, 1)
            size += mlp_size(seen + self.embedding, z.parameters, self.width, 1)
        return size

    @model_validator(mode="after")
    def _groups_fit(self) -> JEPAConfig:
        if self.anti_collapse == "simnorm" and self.embedding % self.simnorm_group:
            nearest = max(1, round(self.embedding / self.simnorm_group)) * self.simnorm_group
            raise ValueError(
                f"embedding must be a multiple of simnorm_group={self.simnorm_group}, "
                f"got {self.embedding}; nearest: {nearest}"
            )
        return self
