"""One door for the errors of all commands: whatever happens ends in one line."""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
import typing
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from worldplan.agent.config.texts import one_line

_Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """The command within `plainly`, with the option `--debug`."""

    @functools.wraps(command)
    def run(*args: Any, debug: bool = False, **kwargs: Any) -> None:
        with plainly(debug=debug):
            command(*args, **kwargs)

    # Typer reads the signature. Its annotations are spelt out, for it would look up their names
    # in this file.
    hints = {**typing.get_type_hints(command, include_extras=True), "debug": _Debug}
    parameters = [
        *inspect.signature(command).parameters.values(),
        inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False),
    ]
    parameters = [p.replace(annotation=hints[p.name]) for p in parameters]
    described: Any = run
    described.__signature__ = inspect.Signature(parameters)
    described.__annotations__ = hints
    return run


class plainly:
    """Within it, an error becomes one line on standard error and exit status 1; Ctrl-C 130.

    Warnings are one line there too, without the source that raised them. With `debug` the
    traceback of an error comes before its line.
    """

    def __init__(self, *, debug: bool = False) -> None:
        self.debug = debug

    def __enter__(self) -> None:
        self.usual = warnings.formatwarning
        warnings.formatwarning = lambda message, *_, **__: (
            f"worldplan: warning: {one_line(message)}\n"
        )

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        warnings.formatwarning = self.usual
        if isinstance(error, typer.Exit | typer.Abort):
            return
        if isinstance(error, KeyboardInterrupt):
            _say("stopped", error, self.debug)
            raise typer.Exit(130) from error
        if isinstance(error, Exception):
            _say(_line(error), error, self.debug)
            raise typer.Exit(1) from error


def _say(line: str, error: BaseException, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    print(f"worldplan: {line}", file=sys.stderr)


def _line(error: Exception) -> str:
    """What a user can do something about is said as it is; else its kind is said too."""
    if isinstance(error, OSError) and error.strerror:
        file = "" if error.filename is None else f": {error.filename}"
        return one_line(f"{error.strerror}{file}")
    if _is_ours(error):
        return one_line(error)
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    return f"{one_line(what)} (--debug shows where)"


def _is_ours(error: Exception) -> bool:
    """Whether worldplan raised the error to be read by a user."""
    if type(error).__module__.startswith("worldplan."):
        return True
    places = list(traceback.walk_tb(error.__traceback__))
    raised_in = places[-1][0].f_globals.get("__name__", "") if places else ""
    wanted = isinstance(error, ValueError | OSError | FloatingPointError)
    return wanted and raised_in.startswith("worldplan.")
