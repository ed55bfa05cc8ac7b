"""The reference of all settings, made from the classes that they are declared in."""

import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sphinx.pycode import ModuleAnalyzer

from worldplan.agent.agent import AgentConfig
from worldplan.agent.config.run import RunConfig

Config = type[BaseModel]
_BOUNDS = {"minimum": "≥ ", "exclusiveMinimum": "> ", "maximum": "≤ ", "exclusiveMaximum": "< "}
_KINDS = {
    "array": "list",
    "boolean": "`true`, `false`",
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "string": "text",
}


def markdown() -> str:
    """Headings and tables in Markdown, for all of `RunConfig`."""
    return "\n".join(_tables(RunConfig, ""))


def names(config: Config = RunConfig, above: str = "") -> Iterator[str]:
    """Every setting as a user writes it, of all kinds."""
    for name, field in config.model_fields.items():
        below = _configs(field.annotation)
        yield above + name
        for one in below:
            yield from names(one, _written(f"{above}{name}."))


def describe(config: Config, name: str) -> str:
    """What is said of a setting: by its field, by a docstring after it, or by its class; or ""."""
    field = config.model_fields[name]
    if field.description:
        return field.description
    for owner in config.__mro__:
        if name not in vars(owner).get("__annotations__", {}):
            continue
        texts = ModuleAnalyzer.for_module(owner.__module__).find_attr_docs()
        if found := " ".join(texts.get((owner.__qualname__, name), [])).strip():
            return found
    for owner in config.__mro__:  # of a field declared again, the base class may tell
        section = (inspect.getdoc(owner) or "").partition("Attributes:")[2] + "\n"
        if found := re.search(rf"^ +{name}: (.*?)(?=^ +\w+: |^\n|\Z)", section, re.M | re.S):
            return " ".join(found[1].split())
    return ""


def _tables(config: Config, above: str, only: set[str] | None = None) -> Iterator[str]:
    """The table of a class, then those of the classes within."""
    fields = {n: f for n, f in config.model_fields.items() if only is None or n in only}
    plain = {n: f for n, f in fields.items() if n != "kind"}
    if plain:
        yield "| setting | default | values | what it is |"
        yield "|---|---|---|---|"
    for name, field in plain.items():
        said = describe(config, name).rstrip(".")
        if below := _configs(field.annotation):
            said = said or (_summary(below[0]).rstrip(".") if len(below) == 1 else "")
            said = f"{said}{': ' * bool(said)}see [below](#{_anchor(above + name)})"
        cells = (f"`{above}{name}`", _default(config, name), _values(config, name), said)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    for name, field in plain.items():
        kinds = _configs(field.annotation)
        if kinds:
            yield f"({_anchor(above + name)})="
            yield from _section(_written(f"{above}{name}."), kinds, _first(field))


def _section(path: str, kinds: list[Config], default: str) -> Iterator[str]:
    """One class, or the classes among which `kind` chooses: what they share, then each one."""
    key = path.rstrip(".")
    if len(kinds) == 1:
        yield f"## `{key}`\n"
        yield f"{_summary(kinds[0])}\n"
        yield from _tables(kinds[0], path)
        return
    shared = set.intersection(*(set(kind.model_fields) for kind in kinds))
    shared = {n for n in shared if n != "kind" and len({describe(k, n) for k in kinds}) == 1}
    yield f"## `{key}`\n"
    chosen = ", ".join(f"`{kind.model_fields['kind'].default}`" for kind in kinds)
    yield f"`{key}=` chooses among {chosen}. The default is `{default}`.\n"
    first = next(kind for kind in kinds if kind.model_fields["kind"].default == default)
    if shared:
        yield f"Settings of all of them, with the defaults of `{default}`:\n"
        yield from _tables(first, path, shared)
    for kind in kinds:
        own = {
            name for name in kind.model_fields
            if name not in shared
            or _default(kind, name) != _default(first, name)
            or _values(kind, name) != _values(first, name)
        } - {"kind"}  # fmt: skip
        yield f"### `{key}={kind.model_fields['kind'].default}`\n"
        yield f"{_summary(kind)}\n"
        yield from _tables(kind, path, own)


def _configs(annotation: Any) -> list[Config]:
    """The config classes within a type annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [config for part in typing.get_args(annotation) for config in _configs(part)]


def _written(path: str) -> str:
    """A path without the `agent.` that may be left out."""
    short = path.removeprefix("agent.")
    return short if short.split(".")[0] in AgentConfig.model_fields else path


def _first(field: FieldInfo) -> str:
    """The kind, or "", that a setting has by default."""
    value = field.get_default(call_default_factory=True)
    return getattr(value, "kind", "")


def _default(config: Config, name: str) -> str:
    field = config.model_fields[name]
    if _configs(field.annotation):
        return f"`{kind}`" if (kind := _first(field)) else ""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None or (value == 0 and "≥ 1" in _values(config, name)):
        return ""  # what it follows from stands in its description
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(config: Config, name: str) -> str:
    """Type and bounds, as the JSON schema of the class has them."""
    schema = config.model_json_schema()["properties"][name]
    if _configs(config.model_fields[name].annotation):
        return ""
    said = []
    for part in schema.get("anyOf", [schema]):
        if part.get("type") == "null":
            continue
        if choices := part.get("enum", [part["const"]] if "const" in part else []):
            said.append(", ".join(f"`{choice}`" for choice in choices))
            continue
        bounds = [f"{sign}{part[word]:,.12g}" for word, sign in _BOUNDS.items() if word in part]
        said.append(", ".join([_KINDS[part["type"]], *bounds]))
    return " or ".join(said)


def _summary(config: Config) -> str:
    """The first paragraph of a class's own docstring."""
    text = inspect.cleandoc(config.__doc__ or "") if "__doc__" in vars(config) else ""
    return " ".join(text.partition("\n\n")[0].split())


def _anchor(key: str) -> str:
    return "setting-" + _written(key + ".").rstrip(".").replace(".", "-").replace("_", "-")
