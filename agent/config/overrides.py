"""`key=value` settings: merged onto a preset's, checked, and explained where they are wrong."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, TypeAdapter, ValidationError

from worldplan.agent.agent import AgentConfig
from worldplan.agent.config.names import dotted
from worldplan.agent.config.presets import of_size
from worldplan.agent.config.renamed import ELSEWHERE, RENAMED, present_name
from worldplan.agent.config.run import RunConfig
from worldplan.agent.config.texts import one_line
from worldplan.agent.models.registry import ModelConfigUnion
from worldplan.agent.models.world_model import ModelConfig

_FAMILY: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfigUnion)


def resolve(
    base: Mapping[str, Any],
    overrides: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Merges dotted `key=value` overrides onto base and validates the whole.

    `settings` are the same from Python: `{"planner.horizon": 5}` or `{"planner": {"horizon": 5}}`.

    `planner.x` is short for `agent.planner.x`; likewise model, heads, learner. Where an override
    asks for another kind, what base sets for its own kind alone is left out. What a `size` that is
    asked for and the family of world models set by default stands above base and beneath the
    overrides.

    Raises:
        ValueError: an override that is not `key=value`, an unknown key (the nearest one is named),
            a value of the wrong type or out of range.
    """
    given = read(overrides, settings)
    for size in [value for key, value in given if key == "size"][-1:]:
        base = _merge(base, list(dotted(of_size(str(size)))))
    if defaults := _of_family(_merge(base, given)):
        base = _merge(base, list(dotted(defaults)))
    return put_onto(base, given)


def read(
    overrides: Sequence[str], settings: Mapping[str, Any] | None = None
) -> list[tuple[str, Any]]:
    """Names, spelt out, and values of what is given. Raises ValueError as `resolve`."""
    given = [_parse(override) for override in overrides]
    return given + [(_spelt_out(key), _plain(value)) for key, value in dotted(settings or {})]


def put_onto(base: Mapping[str, Any], given: Sequence[tuple[str, Any]]) -> RunConfig:
    """Base with what `read` returned put onto it. Raises ValueError as `resolve`."""
    content = _merge(base, given)
    config = checked(content)
    if wrong := next(_switched(content, config.model_dump()), None):
        raise ValueError(f"{wrong}: expected a number, got on or off, yes or no, true or false")
    return config


def checked(content: Mapping[str, Any]) -> RunConfig:
    """The configuration that nested settings make.

    Raises:
        ValueError: they make none. One line says what is wrong with each.
    """
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise ValueError("; ".join(map(_explain, error.errors()))) from error


def setting(config: RunConfig, key: str) -> Any:
    """The value of a setting by its name on the command line; None if none has that name."""
    found: Any = config
    for name in _spelt_out(key).split("."):
        found = getattr(found, name, None)
    return found


def _switched(given: Mapping[str, Any], read: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Names of the settings that are numbers, and were given as booleans: YAML's 1 is not `on`."""
    for name, value in read.items():
        was = given.get(name)
        if isinstance(was, Mapping) and isinstance(value, dict):
            yield from _switched(was, value, f"{above}{name}.")
        elif isinstance(was, bool) and isinstance(value, int | float) and value is not was:
            yield f"{above}{name}"


def _merge(base: Mapping[str, Any], given: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Base with dotted settings put onto it, one after the other."""
    merged = OmegaConf.create(dict(base))
    for key, value in given:
        with _setting(key):
            _leave_out(merged, key.removesuffix(".kind"), value)
    for key, value in given:
        with _setting(key):
            _spell_out_kinds(merged, key)
            kind = isinstance(value, str) and OmegaConf.is_dict(OmegaConf.select(merged, key))
            OmegaConf.update(merged, f"{key}.kind" if kind else key, value, force_add=True)
    content = OmegaConf.to_container(merged)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


@contextmanager
def _setting(key: str) -> Iterator[None]:
    """What OmegaConf says of a key or of a value that it cannot set there."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"cannot set {one_line(repr(key), 80)}: {one_line(error)}") from error


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
    shown = one_line(repr(override), 80)
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ValueError(f"expected KEY=VALUE, got {shown}; for example: seed=3")
    key = _spelt_out(key)
    try:
        parsed = OmegaConf.create(f"value: {value}" if value else "value: ''")
        assert isinstance(parsed, DictConfig)
        return key, parsed.value
    except Exception as error:
        raise ValueError(f"cannot read the value in {shown}: {one_line(error)}") from error


def _spelt_out(key: str) -> str:
    """The whole name of a setting, as it is now."""
    if key.split(".")[0] in AgentConfig.model_fields or f"agent.{key}" in RENAMED:
        key = f"agent.{key}"
    return present_name(key)


def _plain(value: Any) -> Any:
    """A number of NumPy's as one of Python's."""
    return value.item() if isinstance(value, np.generic) else value


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
        said = error["msg"].removeprefix("Value error, ")
        if error["type"] == "union_tag_not_found":
            said = f"expected its kind too, as {key}.kind=NAME"
        return f"{key}: {said}; got {one_line(repr(error['input']), 80)}"
    shown, valid = _walk(parents)
    key = ".".join([*shown, last])
    if not parents:  # what may be written without `agent.` is valid here too
        valid = [*valid, *AgentConfig.model_fields]
    here = [".".join([*shown, name]).removeprefix("agent.") for name in valid]
    if near := nearest(key, here):
        return f"unknown key {key!r}. Did you mean {' or '.join(map(repr, near))}?"
    return f"unknown key {key!r}; valid here: {', '.join(valid)}"


def nearest(key: str, here: Sequence[str] = ()) -> list[str]:
    """The settings that a key may mean, as they are written: the last part of its name may stand
    elsewhere, or have another name in other programs.

    Args:
        here: settings that stand where the key was looked for, of which one may be misspelt.
    """
    last = key.rpartition(".")[2]
    last = ELSEWHERE.get(last, last)
    every = list(_settings(RunConfig))
    if key in every:
        return [key]
    for known in (here, every):
        if found := [name for name in known if f".{name}".endswith(f".{last}")]:
            return found
    for known, cutoff in ((here, 0.75), (every, 0.75), (here, 0.5)):
        by_last = {name.rpartition(".")[2]: name for name in reversed(known)}
        if near := difflib.get_close_matches(last, by_last, n=1, cutoff=cutoff):
            return [by_last[near[0]]]
    return []


def _settings(config: type[BaseModel], above: str = "") -> Iterator[str]:
    """All settings by the short names, those of all kinds."""
    found = dict[str, None]()  # in order, and each once
    for name, field in config.model_fields.items():
        below = _models(field.annotation)
        path = "" if above == "" and name == "agent" else f"{above}{name}."
        for model in below:
            found.update(dict.fromkeys(_settings(model, path)))
        if not below:
            found[f"{above}{name}"] = None
    yield from found


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
