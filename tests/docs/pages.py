"""The Markdown pages, and the command lines in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)
_INLINE = re.compile(r"`([^`]+)`")


def commands(text: str, program: str) -> Iterator[list[str]]:
    """What follows the name of a program, in blocks of shell and in `code`."""
    lines = []
    for language, block in _BLOCK.findall(text):
        if language in ("sh", "bash", "console"):
            lines += block.replace("\\\n", " ").splitlines()
    prose = _BLOCK.sub("", text)
    lines += [" ".join(code.split()) for code in _INLINE.findall(prose)]
    for line in lines:
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"\$|[A-Z_]+=\S*", words[0]):
                words.pop(0)
            if words[:1] == [program] and len(words) > 1:
                yield words[1:]
