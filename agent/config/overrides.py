"""`key=value` settings: merged onto a preset's, checked, and explained where they are wrong."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, TypeAdapter, ValidationError

from worldplan.agent.agent import AgentConfig
from worldplan.agent.config.names import dotted
from worldplan.agent.config.renamed import RENAMED, present_name
from worldplan.agent.config.run import RunConfig
from worldplan.agent.models.registry import ModelConfigUnion
from worldplan.agent.models.world_model import ModelConfig

_FAMILY: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfigUnion)


def resolve(base: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Merges dotted `key=value` overrides onto base and validates the whole.

    `planner.x` is short for `agent.planner.x`; likewise model, heads, learner. Where an override
    asks for another kind, what base sets for its own kind alone is left out. What the family of
    world models sets by default stands above base and beneath the overrides.

    Raises:
        ValueError: an override that is not `key=value`, an unknown key (the nearest one is named),
            a value of the wrong type or out of range.
    """
    given = [_parse(override) for override in overrides]
    content = _merge(base, given)
    if defaults := _of_family(content):
        content = _merge(_merge(base, list(dotted(defaults))), given)
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise ValueError("\n".join(_explain(item) for item in error.errors())) from error


def _merge(base: Mapping[str, Any], given: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Base with dotted settings put onto it, one after the other."""
    merged = OmegaConf.create(dict(base))
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
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _of_family(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the family of world models that is asked for sets by default."""
    agent = content.get("agent")
    model = agent.get("model") if isinstance(agent, dict) else None
    try:
        family: ModelConfig = _FAMILY.validate_python(model or {})
    except ValidationError:
        return {}  # to be refused with all else that is wrong
    return family.defaults()


def _parse(override: str) -> tuple[str, Any]:
    """The key, spelt out, and the value of a `key=value`."""
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ValueError(f"expected KEY=VALUE, got {override!r}; for example: seed=3")
    if key.split(".")[0] in AgentConfig.model_fields or f"agent.{key}" in RENAMED:
        key = f"agent.{key}"
    key = present_name(key)
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
    if not error["loc"]:  # of settings that do not go together
        return str(error["msg"].removeprefix("Value error, "))
    *parents, last = [str(part) for part in error["loc"]]
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
