"""How the hot functions run: on which device, compiled where the machine can, how precisely."""

from __future__ import annotations

import functools
import re
import shutil
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import torch
from pydantic import AfterValidator

P = ParamSpec("P")
R = TypeVar("R")
Compile = Literal["auto", "on", "off"]
Precision = Literal["auto", "float32", "bfloat16"]
_DEVICES = r"auto|cpu|mps|cuda(:\d+)?"


def _is_device(name: str) -> str:
    if re.fullmatch(_DEVICES, name) is None:
        raise ValueError("expected auto, cpu, mps, cuda, or one of several as cuda:1")
    return name


Device = Annotated[str, AfterValidator(_is_device)]

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Execution:
    """Where functions run, and what `prepare` does to them. The default changes nothing."""

    device: torch.device = CPU
    compiled: bool = False
    update_precision: torch.dtype = torch.float32
    plan_precision: torch.dtype = torch.float32


def resolve(
    compile_: Compile,
    update_precision: Precision = "auto",
    plan_precision: Precision = "float32",
    device: Device = "auto",
) -> tuple[Execution, str]:
    """How this machine shall run, and one line that says so.

    Raises:
        ValueError: compile "on" where it cannot be done, or a device that is not there.
    """
    place = find_device(device)
    why_not = None if compile_ == "off" else obstacle()
    if compile_ == "on" and why_not:
        raise ValueError(f"compile=on cannot be done: {why_not}; expected compile=auto or off")
    compiled = compile_ != "off" and why_not is None
    if compiled:
        note = "torch.compile on: the first minutes go into compiling, later runs reuse it"
    elif compile_ == "off":
        note = "torch.compile off: as asked"
    else:
        note = f"torch.compile off: {why_not}; runs slower, learns the same"
    execution = Execution(
        place, compiled, _dtype(update_precision, place), _dtype(plan_precision, place)
    )
    return execution, say(execution, note)


def say(execution: Execution, note: str) -> str:
    """One line for the user: device, a note about compiling, precisions."""
    dtypes = execution.update_precision, execution.plan_precision
    update, plan = (str(dtype).removeprefix("torch.") for dtype in dtypes)
    return f"device {execution.device}; {note}; updates in {update}, plans in {plan}"


def find_device(name: Device) -> torch.device:
    """Auto: CUDA where there is, else the CPU.

    Raises:
        ValueError: there is no such device.
    """
    _is_device(name)
    known = ["cpu"]
    if torch.cuda.is_available():
        known += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        known.append("mps")
    if name == "auto":
        name = "cuda" if "cuda" in known else "cpu"
    if name not in known:
        raise ValueError(
            f"device={name}: PyTorch {torch.__version__} finds none on this machine; expected "
            f"auto, or one of {', '.join(known)}"
        )
    return torch.device(name)


def prepare(
    function: Callable[P, R],
    compiled: bool,
    precision: torch.dtype = torch.float32,
    device: torch.device = CPU,
    *,
    dynamic: bool | None = None,
    wrapped: bool = False,
) -> Callable[P, R]:
    """The function with its matrix products in `precision`, compiled if asked.

    `dynamic` as of torch.compile: None makes a form for the first shape, and one for all others.
    `wrapped` has C++ instead of Python call the kernels: it pays where they are many and small.
    """

    def lowered(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast(device.type, dtype=precision):
            return function(*args, **kwargs)

    chosen = function if precision == torch.float32 else lowered
    if not compiled:
        return chosen
    # Networks never change their structure here, so that calls need not check it again and again:
    # half a millisecond a call.
    options: dict[str, Any] = {
        "guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe,
        "cpp_wrapper": wrapped and device.type == "cpu",
    }
    return mending(torch.compile(_alone(chosen), dynamic=dynamic, options=options))


def _alone(function: Callable[P, R]) -> Callable[P, R]:
    """The function behind a code object of its own.

    What is compiled is kept by code object, and methods share theirs: without the checks that
    `prepare` leaves out, one agent would run what was compiled for another.
    """

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    code = call.__code__.replace()
    return types.FunctionType(code, call.__globals__, closure=call.__closure__)


def mending(function: Callable[P, R]) -> Callable[P, R]:
    """A compiled function that gets over what a killed run left in the compiler's cache.

    PyTorch 2.13 writes its libraries in place, so that a kill leaves half of one, and every later
    run ends with "file too short". Such a file is removed, and compiled again.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        from torch._dynamo.exc import BackendCompilerFailed

        try:
            return function(*args, **kwargs)
        except BackendCompilerFailed as error:
            named = re.search(r"ImportError: (.+\.so): ", str(error))
            if named is None or not Path(named[1]).exists():
                raise
            Path(named[1]).unlink()
        return call(*args, **kwargs)  # another may be broken too

    return call


def no_compiler() -> str | None:
    """What is missing, if it is seen without a trial, which takes some seconds; or None."""
    if any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")):
        return None
    return "no C++ compiler found (on Debian: apt-get install g++)"


@cache
def obstacle() -> str | None:
    """Why compiling is not possible here, or None."""
    if missing := no_compiler():
        return missing
    try:  # it may lack headers, or be another than the one that PyTorch asks for
        mending(torch.compile(torch.sin))(torch.zeros(8))
    except RuntimeError as error:
        return f"a trial of it failed ({str(error).strip().splitlines()[0]})"
    return None


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Auto: bfloat16 where the processor multiplies it faster than float32.

    Those of Intel do so with AMX alone: without it a Xeon of the 4th generation makes 81 GFLOP/s
    in bfloat16 and 156 in float32, and an update takes 31 ms in place of 21.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    # PyTorch tells since 2.13.
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    by_vectors = able.get("avx512_bf16") and "Intel" not in able.get("cpu_name", "")
    fast = device.type == "cpu" and (able.get("amx_bf16") or by_vectors)
    return torch.bfloat16 if fast else torch.float32
