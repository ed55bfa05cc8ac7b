"""Names that users give, and names of folders and settings."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any


def one_of(what: str, name: str, names: Iterable[str]) -> str:
    """Returns the name if it is one of `names`.

    Raises:
        ValueError: it is not; the message gives the nearest one.
    """
    known = list(names)
    if name not in known:
        raise ValueError(unknown(what, name, known))
    return name


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """What to say of a name that is not one of those known: the nearest of them, and all."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"no {what} is called {name!r}. Did you mean {near!r}? Choices: {', '.join(known)}"


def folder_name(*words: str) -> str:
    """The words joined, without characters that a folder's name cannot have."""
    return "-".join(words).replace(" ", "_").replace("/", "-").replace(":", "-")


def dotted(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as pairs of dotted name and value, as a user writes them."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
