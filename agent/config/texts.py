"""Texts of users, files and other packages, as a terminal can show them."""

from __future__ import annotations

_LONGEST = 1500  # characters of one line


def visible(text: str) -> str:
    """The text with everything that would act on a terminal escaped, except for line ends."""
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def one_line(text: object, longest: int = _LONGEST) -> str:
    """The text on one line, visible; the middle of a long one is left out."""
    line = visible(" ".join(str(text).split()))
    if len(line) <= longest:
        return line
    half = (longest - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
