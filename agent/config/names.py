"""Names: those that users give, and those that files and settings get."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def one_of(what: str, name: str, names: Iterable[str]) -> str:
    """The name, if it is among those that there are.

    Raises:
        ValueError: it is not; tells the nearest one.
    """
    known = list(names)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"no {what} is called {name!r}. Did you mean {near!r}? Choices: {', '.join(known)}"
        )
    return name


def folder_name(*words: str) -> str:
    """The words joined, without what a folder's name cannot hold."""
    return "-".join(words).replace(" ", "_").replace("/", "-").replace(":", "-")


def dotted(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by their dotted names, as a user writes them."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
