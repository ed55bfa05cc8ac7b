"""torch.compile where the machine can, plain PyTorch where it cannot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from typing import Literal, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
Compile = Literal["auto", "on", "off"]


@cache
def _obstacle() -> str | None:
    """Why compiling is not possible here, or None."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        return "no C++ compiler found (on Debian: apt-get install g++)"
    return None


def resolve(compile_: Compile) -> tuple[bool, str]:
    """Whether to compile, and one line that says so.

    Raises:
        ValueError: "on" where it cannot be done.
    """
    if compile_ == "off":
        return False, "torch.compile off: as asked"
    obstacle = _obstacle()
    if obstacle is None:
        return True, "torch.compile on: the first minute goes into compiling, later runs reuse it"
    if compile_ == "on":
        raise ValueError(f"compile=on cannot be done: {obstacle}; expected compile=auto or off")
    return False, f"torch.compile off: {obstacle}; runs slower, learns the same"


def maybe_compile(function: Callable[P, R], compiled: bool) -> Callable[P, R]:
    """The function itself, or its compiled form: one for any number of rows, compiled once."""
    return torch.compile(function, dynamic=True) if compiled else function
