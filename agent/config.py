"""The resolved configuration of a run: defaults, then suite, then preset, then `key=value`."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from worldplan.agent.agent import AgentConfig
from worldplan.agent.compiling import Compile, Precision
from worldplan.agent.replay import ReplayConfig
from worldplan.agent.simulator import is_simulator
from worldplan.envs import EnvConfig


class RunConfig(BaseModel):
    """All of a training run. Steps are decisions of the agent, over all environments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(description="preset, or environment id")
    env: EnvConfig
    seed: int = Field(default=0, ge=0, description="of everything random in the run")
    run_dir: Path | None = Field(default=None, description="default: runs/TASK-SEED-DATE")
    steps: int = Field(default=50_000, ge=1, description="decisions to train for")
    solved: float | None = Field(
        default=None, description="stop once every evaluation episode returns this"
    )
    num_envs: int = Field(default=1, ge=1, description="environments that collect as one batch")
    seed_steps: int = Field(default=1000, ge=1, description="random decisions at the start")
    updates_per_step: float = Field(default=1.0, ge=0, description="gradient updates per decision")
    eval_interval: int = Field(
        default=0,
        ge=1,
        description="decisions between evaluations; default: steps / 10, or steps for a simulator",
    )
    eval_episodes: int = Field(default=3, ge=1, description="held-out episodes per evaluation")
    final_episodes: int = Field(default=10, ge=1, description="in the evaluation at the end")
    checkpoint_interval: int = Field(
        default=0,
        ge=1,
        description="decisions between checkpoints, at an episode's end; default: steps / 10",
    )
    log_interval: int = Field(
        default=0, ge=1, description="decisions between logged metrics; default: steps / 50"
    )
    video: bool = Field(default=False, description="film an episode at each evaluation")
    threads: int = Field(default=0, ge=0, description="of PyTorch; 0: as many as it likes")
    compile: Compile = Field(default="auto", description="torch.compile of the hot functions")
    update_precision: Precision = Field(
        default="auto", description="of an update's matrix products; auto: the faster one here"
    )
    plan_precision: Precision = Field(
        default="float32", description="of a decision's; bfloat16 pays from some 256 samples on"
    )
    replay: ReplayConfig = Field(default_factory=ReplayConfig)
    agent: AgentConfig = Field(default_factory=AgentConfig)

    @model_validator(mode="before")
    @classmethod
    def _intervals_follow_steps(cls, values: Any) -> Any:
        steps = values.get("steps", 50_000) if isinstance(values, dict) else None
        if not isinstance(steps, int | float) or steps % 1:
            return values  # to be refused: no whole number
        evaluations = 1 if _simulates(values) else 10  # a simulator stays as it is
        default = {"eval_interval": evaluations, "checkpoint_interval": 10, "log_interval": 50}
        given = {k: v for k, v in values.items() if v is not None}
        return {**{k: max(1, int(steps) // share) for k, share in default.items()}, **given}

    @model_validator(mode="before")
    @classmethod
    def _a_simulator_sees_the_state(cls, values: Any) -> Any:
        if _simulates(values) and isinstance(values.get("env"), dict):
            return {**values, "env": {"observe": "state", **values["env"]}}
        return values

    @model_validator(mode="after")
    def _a_simulator_sees_nothing_else(self) -> RunConfig:
        if is_simulator(self.agent.model) and self.env.observe != "state":
            raise ValueError(
                "model.kind=simulator starts from MuJoCo's state; expected env.observe=state, got "
                f"{self.env.observe}"
            )
        return self

    @field_validator("compile", mode="before")
    @classmethod
    def _yaml_says_on_and_off_for_booleans(cls, value: Any) -> Any:
        return {True: "on", False: "off"}.get(value, value)


def _simulates(values: Any) -> bool:
    """Whether a run's settings, still as the user wrote them, are for a simulator."""
    agent = values.get("agent") if isinstance(values, dict) else None
    model = agent.get("model") if isinstance(agent, dict) else getattr(agent, "model", None)
    return is_simulator(model)


def load_preset(name: str) -> dict[str, Any]:
    """The YAML preset of a task, its suite's settings beneath it.

    Raises:
        ValueError: no such preset; names the nearest one.
    """
    folder = resources.files("worldplan.configs")
    names = sorted(
        f.name.removesuffix(".yaml")
        for f in folder.iterdir()
        if f.name.endswith(".yaml") and not f.name.startswith("suite-")
    )
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"no task preset is called {name!r}.{hint} Presets: {', '.join(names)}. "
            "Any Gymnasium environment: worldplan train --env ID"
        )
    preset = OmegaConf.create((folder / f"{name}.yaml").read_text())
    suite = OmegaConf.create((folder / f"suite-{preset.suite}.yaml").read_text())
    merged = OmegaConf.to_container(OmegaConf.merge(suite, preset))
    assert isinstance(merged, dict)
    settings = {str(k): v for k, v in merged.items() if k not in ("description", "suite")}
    return {"task": name, **settings}


def resolve(base: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Merges dotted `key=value` overrides onto base and validates the whole.

    `planner.x` is short for `agent.planner.x`; likewise model, heads, learner. Where an override
    asks for another kind, what base sets for its own kind alone is left out.

    Raises:
        ValueError: an override that is not `key=value`, an unknown key (the nearest one is named),
            a value of the wrong type or out of range.
    """
    merged = OmegaConf.create(dict(base))
    given = [_parse(override) for override in overrides]
    for key, value in given:
        _leave_out(merged, key.removesuffix(".kind"), value)
    for key, value in given:
        try:
            _spell_out_kinds(merged, key)
            if isinstance(value, str) and OmegaConf.is_dict(OmegaConf.select(merged, key)):
                key = f"{key}.kind"
            OmegaConf.update(merged, key, value, force_add=True)
        except OmegaConfBaseException as error:
            raise ValueError(f"cannot set {key!r}: {error}") from error
    content = OmegaConf.to_container(merged)
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise ValueError("\n".join(_explain(item) for item in error.errors())) from error


def _parse(override: str) -> tuple[str, Any]:
    """The key, spelt out, and the value of a `key=value`."""
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ValueError(f"expected KEY=VALUE, got {override!r}; for example: seed=3")
    if key.split(".")[0] in AgentConfig.model_fields:
        key = f"agent.{key}"
    try:
        parsed = OmegaConf.create(f"value: {value}" if value else "value: ''")
    except Exception as error:
        raise ValueError(f"cannot read the value in {override!r}: {error}") from error
    assert isinstance(parsed, DictConfig)
    return key, parsed.value


def _leave_out(merged: DictConfig, path: str, kind: Any) -> None:
    """Drops what is set at a path for kinds other than this one, if it is a kind."""
    there = OmegaConf.select(merged, path, throw_on_resolution_failure=False)
    if not isinstance(there, DictConfig) or not isinstance(kind, str):
        return
    parts, valid = _walk([*path.split("."), kind])
    if ".".join(parts) == path:  # else it is no kind that can stand there
        for name in set(there) - set(valid):
            del there[name]


def _spell_out_kinds(merged: DictConfig, key: str) -> None:
    """A bare name on the way to key becomes `{kind: name}`, or what is set below would replace it.

    So `planner=icem planner.risk=worst` means the same in either order.
    """
    parts = key.split(".")
    for above in (".".join(parts[:i]) for i in range(1, len(parts))):
        held = OmegaConf.select(merged, above)
        if isinstance(held, str):
            OmegaConf.update(merged, above, {"kind": held}, merge=False)


def _explain(error: Any) -> str:
    """One line for one of pydantic's errors."""
    *parents, last = [str(part) for part in error["loc"]] or ["config"]
    if error["type"] != "extra_forbidden":
        key = ".".join(_walk([*parents, last])[0])
        return f"{key}: {error['msg'].removeprefix('Value error, ')}; got {error['input']!r}"
    shown, valid = _walk(parents)
    key = ".".join([*shown, last])
    if not parents:  # what may be written without `agent.` is valid here too
        valid = [*valid, *AgentConfig.model_fields]
    near = difflib.get_close_matches(last, valid, n=1, cutoff=0.4)
    if near:
        return f"unknown key {key!r}. Did you mean {'.'.join([*shown, near[0]])!r}?"
    return f"unknown key {key!r}; valid here: {', '.join(valid)}"


def _walk(path: Sequence[str]) -> tuple[list[str], list[str]]:
    """A path of the config without the kinds pydantic puts in it, and the names valid there."""
    configs: list[type[BaseModel]] = [RunConfig]
    shown: list[str] = []
    for part in path:
        of_kind = [
            config
            for config in configs
            if "kind" in config.model_fields and config.model_fields["kind"].default == part
        ]
        if of_kind:
            configs = of_kind
            continue
        shown.append(part)
        configs = [
            below
            for config in configs
            if part in config.model_fields
            for below in _models(config.model_fields[part].annotation)
        ]
    return shown, sorted({name for config in configs for name in config.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The config classes within a type annotation."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return [model for part in typing.get_args(annotation) for model in _models(part)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return []
