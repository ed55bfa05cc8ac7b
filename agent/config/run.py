"""The resolved configuration of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from worldplan.agent.agent import AgentConfig
from worldplan.agent.data.replay import ReplayConfig
from worldplan.agent.learning.compiling import Compile, Device, Precision
from worldplan.envs import EnvConfig

Steps = Annotated[int, Field(ge=1, le=1_000_000_000)]
Count = Annotated[int, Field(ge=1, le=1024)]  # of what is held side by side


class RunConfig(BaseModel):
    """Configuration of a training run. Steps are decisions, summed over all environments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(description="preset, or environment id")
    env: EnvConfig
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="of all random numbers of the run")
    run_dir: Path | None = Field(default=None, description="default: runs/TASK-SEED-DATE")
    steps: Steps = Field(default=50_000, description="decisions to train for")
    start_from: Path | None = Field(
        default=None,
        description="a run whose weights this one starts with; no decisions are random then",
    )
    data: str | None = Field(
        default=None,
        description="a data set that is in the replay from the start: an .npz, minari:ID, "
        "lerobot:FOLDER or lerobot:USER/NAME",
    )
    solved: float | None = Field(
        default=None, description="stop once every evaluation episode reaches this return"
    )
    num_envs: Count = Field(default=1, description="environments that are stepped as one batch")
    collectors: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="processes on a Ray cluster, each of which plays one environment while this "
        "one learns; 0: none",
    )
    seed_steps: Steps = Field(default=1000, description="random decisions at the start")
    updates_per_step: float = Field(
        default=1.0, ge=0, le=1000, description="gradient updates per decision"
    )
    eval_interval: Steps = Field(
        default=0,
        description="decisions between evaluations; default: steps / 10",
    )
    eval_episodes: Count = Field(default=3, description="held-out episodes per evaluation")
    final_episodes: Count = Field(default=10, description="in the evaluation at the end")
    eval_max_steps: Steps | None = Field(
        default=None,
        description="decisions after which a held-out episode is cut; default: the environment's "
        "time limit, or 1000 if it has none",
    )
    train_max_steps: Steps | None = Field(
        default=None,
        description="decisions after which an episode that is learned from is cut, so that there "
        "are more of them, with more starts and goals",
    )
    checkpoint_interval: Steps = Field(
        default=0,
        description="decisions between checkpoints, at the end of an episode; default: steps / 10. "
        "An episode that lasts beyond the time limit, or 1000 decisions, is cut there",
    )
    log_interval: Steps = Field(
        default=0,
        description="decisions between logged metrics; default: steps / 50",
    )
    log: Literal["files", "wandb", "trackio", "mlflow"] = Field(
        default="files", description="who gets the figures besides CSV files and TensorBoard"
    )
    video: bool = Field(default=False, description="film an episode at each evaluation")
    size: Literal["small", "medium", "large"] = Field(
        default="small", description="of model and search: small for a CPU, large for a GPU"
    )
    threads: int = Field(default=0, ge=0, le=256, description="of PyTorch; 0: its default")
    device: Device = Field(
        default="auto", description="auto: CUDA if available, else the CPU; cuda:1 is the second"
    )
    compile: Compile = Field(
        default="auto",
        description="torch.compile of the hot functions; auto: where the run is long enough to pay "
        "for it, after its beginning; on: from its first step",
    )
    compile_after: int = Field(
        default=2000,
        ge=0,
        le=1_000_000_000,
        description="compile=auto: decisions (of `fit`: updates) before compiled code takes over, "
        "in runs at least five times as long; with threads=1 it does so at the start",
    )
    update_precision: Precision = Field(
        default="auto",
        description="of matrix products in updates; auto: the faster of float32 and bfloat16; tf32 "
        "is of CUDA, and float32 elsewhere",
    )
    plan_precision: Precision = Field(
        default="auto",
        description="of matrix products in decisions; auto: TF32 on CUDA, else float32; bfloat16 "
        "is faster from about 256 samples",
    )
    replay: ReplayConfig = Field(default_factory=ReplayConfig)
    agent: AgentConfig = Field(default_factory=AgentConfig)

    @model_validator(mode="before")
    @classmethod
    def _intervals_follow_steps(cls, values: Any) -> Any:
        steps = values.get("steps", 50_000) if isinstance(values, dict) else None
        if not isinstance(steps, int | float) or steps % 1:
            return values  # not a whole number: refused later
        default = {"eval_interval": 10, "checkpoint_interval": 10, "log_interval": 50}
        given = {k: v for k, v in values.items() if v is not None}
        return {**{k: max(1, int(steps) // share) for k, share in default.items()}, **given}

    @model_validator(mode="after")
    def _the_model_can_do_it(self) -> RunConfig:
        self.agent.model.check(self)
        return self

    @model_validator(mode="after")
    def _a_collector_plays_one_environment(self) -> RunConfig:
        if self.collectors and self.num_envs > 1:
            raise ValueError(
                f"expected num_envs=1 with collectors={self.collectors}, each of which plays one "
                f"environment, got num_envs={self.num_envs}"
            )
        return self

    @property
    def streams(self) -> int:
        """Of episodes that are played side by side."""
        return self.collectors or self.num_envs

    @field_validator("solved")
    @classmethod
    def _nothing_reaches_nan(cls, value: float | None) -> float | None:
        if value is not None and math.isnan(value):
            raise ValueError("expected a return, or .inf")
        return value

    @field_validator("compile", mode="before")
    @classmethod
    def _yaml_says_on_and_off_for_booleans(cls, value: Any) -> Any:
        return ("on" if value else "off") if isinstance(value, bool) else value
