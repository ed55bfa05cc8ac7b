"""Configs selected by their `kind`, with a suggestion when the name is wrong."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import BeforeValidator


def by_kind(what: str, kinds: Iterable[str], default: str | None = None) -> BeforeValidator:
    """Makes the validator that runs before a union discriminated by `kind`.

    It reads a plain name as `{kind: name}`.

    Args:
        what: What the kinds are kinds of, for the error message.
        kinds: The valid names.
        default: The kind of a mapping that has no `kind`.

    Returns:
        The validator. It raises ValueError for an unknown name and suggests the nearest one.
    """
    names = list(kinds)

    def read(value: Any) -> Any:
        value = {"kind": value} if isinstance(value, str) else value
        if default is not None and isinstance(value, dict):
            value = {"kind": default, **value}
        kind = value.get("kind") if isinstance(value, dict) else None
        if kind is not None and kind not in names:
            nearest = get_close_matches(str(kind), names, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"unknown {what} {kind!r}. Did you mean {nearest!r}? Choices: {', '.join(names)}"
            )
        return value

    return BeforeValidator(read)
