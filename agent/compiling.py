"""torch.compile where the machine can, plain PyTorch where it cannot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, ParamSpec, TypeVar

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


def maybe_compile(
    function: Callable[P, R], compiled: bool, *, dynamic: bool = True
) -> Callable[P, R]:
    """The function itself, or its compiled form: `dynamic` for any number of rows, made once.

    Networks never change their structure here, so that calls need not check it again and again:
    half a millisecond a call.
    """
    if not compiled:
        return function
    options: dict[str, Any] = {
        "guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe
    }
    return torch.compile(function, dynamic=dynamic, options=options)
