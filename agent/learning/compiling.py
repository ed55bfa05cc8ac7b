"""How the hot functions run: on which device, compiled where the machine can, how precisely."""

from __future__ import annotations

import functools
import re
import shutil
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import torch
from pydantic import AfterValidator

P = ParamSpec("P")
R = TypeVar("R")
Compile = Literal["auto", "on", "off"]
Precision = Literal["auto", "float32", "tf32", "bfloat16"]
Products = Literal["float32", "tf32", "bfloat16"]
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
    update_precision: Products = "float32"
    plan_precision: Products = "float32"


def resolve(
    compile_: Compile,
    update_precision: Precision = "auto",
    plan_precision: Precision = "auto",
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
    # TF32 is a faster float32, and float32 where there is none: a run may go on elsewhere.
    nearest: Products = "tf32" if _has_tf32(place) else "float32"
    update = _of_updates(place) if update_precision == "auto" else update_precision
    # Plans compare candidates: TF32 rounds a factor to 10 bits where bfloat16 keeps 7.
    plan = "tf32" if plan_precision == "auto" else plan_precision
    precisions = (nearest if asked == "tf32" else asked for asked in (update, plan))
    execution = Execution(place, compiled, *precisions)
    return execution, say(execution, note)


def say(execution: Execution, note: str) -> str:
    """One line for the user: device, a note about compiling, precisions."""
    update, plan = execution.update_precision, execution.plan_precision
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
    precision: Products = "float32",
    device: torch.device = CPU,
    *,
    dynamic: bool | None = None,
    captured: bool = False,
) -> Callable[P, R]:
    """The function with its matrix products in `precision`, compiled if asked.

    `dynamic` as of torch.compile: None makes a form for the first shape, and one for all others.
    `captured` keeps Python from between the kernels, which pays where they are many and small: C++
    calls them on a CPU; on CUDA all of them are one graph, recorded for each shape.
    """

    def lowered(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return function(*args, **kwargs)

    made = lowered if precision == "bfloat16" else function
    if compiled:
        graph = captured and device.type == "cuda"
        # Networks never change their structure here, so that calls need not check it again and
        # again: half a millisecond a call.
        options: dict[str, Any] = {
            "guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe,
            "cpp_wrapper": captured and device.type == "cpu",
            "triton.cudagraphs": graph,
        }
        made = mending(torch.compile(_alone(made), dynamic=dynamic, options=options))
        made = lasting(made) if graph else made
    # From outside: code that is compiled cannot change the setting.
    return tf32()(made) if precision == "tf32" else made


def lasting(function: Callable[P, R]) -> Callable[P, R]:
    """A captured function whose results stay: the graph writes the next ones to the same place."""

    def copied(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return x.clone()
        if isinstance(x, tuple):
            return tuple(map(copied, x))
        if is_dataclass(x) and not isinstance(x, type):
            return replace(x, **{f.name: copied(getattr(x, f.name)) for f in fields(x)})
        return x

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # Nobody reads what the last call wrote.
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        found: R = copied(function(*args, **kwargs))
        return found

    return call


@contextmanager
def tf32() -> Iterator[None]:
    """Within it, and in what it decorates, CUDA rounds factors of float32 products to TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:  # it is the whole process's
        torch.set_float32_matmul_precision(before)


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


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _of_updates(device: torch.device) -> Products:
    """Bfloat16 where the processor multiplies it faster than float32.

    Those of Intel do so with AMX alone: without it a Xeon of the 4th generation makes 81 GFLOP/s
    in bfloat16 and 156 in float32, and an update takes 31 ms in place of 21.
    """
    if device.type == "cuda":  # emulated before Ampere, which is slower
        return "bfloat16" if _has_tf32(device) else "float32"
    # PyTorch tells since 2.13.
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    by_vectors = able.get("avx512_bf16") and "Intel" not in able.get("cpu_name", "")
    fast = device.type == "cpu" and (able.get("amx_bf16") or by_vectors)
    return "bfloat16" if fast else "float32"
