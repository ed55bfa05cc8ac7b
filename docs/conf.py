"""How the site is built: `make docs`. Every warning is an error."""

import os
import re
import sys
from pathlib import Path
from typing import Any

# MuJoCo draws nothing here, and must not look for a display.
os.environ.setdefault("MUJOCO_GL", "disable")
sys.path.insert(0, str(Path(__file__).parent))

import settings_reference

import worldplan

HERE = Path(__file__).parent
project = "worldplan"
copyright = "the worldplan authors, Apache-2.0"
version = release = worldplan.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_title = f"worldplan {version}"
html_copy_source = False

myst_heading_anchors = 3  # so that page.md#a-heading is a link, as on a forge
nitpicky = True  # a reference in a page that leads nowhere is an error
nitpick_ignore_regex = [("py:class", ".*")]  # but not a type in a signature

# Docstrings are plain text with `code` in them.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"npt.ArrayLike": "ArrayLike"}
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False

_ELSEWHERE = re.compile(r"\[([^\]]*)\]\((\.\./[^)\s]+)\)")


def _read(app: Any, page: str, source: list[str]) -> None:
    """Links to files outside this folder become their names; the reference is filled in."""
    text = _ELSEWHERE.sub(lambda link: f"`{link[2].removeprefix('../')}`", source[0])
    source[0] = text.replace("<!-- settings-reference -->", settings_reference.markdown())


def _plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings as they are meant: indented paragraphs are code; stars and bars are themselves."""
    text = re.sub(r"(?<![\w]:)\n\n(?= {4}\S)", "\n\n::\n\n", "\n".join(lines))
    code, lines[:] = False, text.split("\n")
    for i, line in enumerate(lines):
        code = line == "::" or (code and (not line or line.startswith("    ")))
        if not code:
            parts = line.split("`")
            parts[::2] = [re.sub(r"([*|]|_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
            lines[i] = "`".join(parts)


def _short(app: Any, *what: Any) -> tuple[str, str] | None:
    """The names of type aliases in a signature, without what wraps them."""
    *_, signature, returns = what
    if signature is None:
        return None
    return re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", signature), returns


def setup(app: Any) -> None:
    app.connect("source-read", _read)
    # Before napoleon, whose own marks are no part of the docstring.
    app.connect("autodoc-process-docstring", _plain, priority=100)
    app.connect("autodoc-process-signature", _short)
