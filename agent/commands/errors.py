"""One door for the errors of all commands: whatever happens ends in one line.

An exception of code that is not worldplan's, such as an environment, is its author's: the traceback
in that code comes before the line, which says what raised it.
"""

from __future__ import annotations

import errno
import functools
import inspect
import sys
import traceback
import typing
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from gymnasium.error import DependencyNotInstalled
from typer.core import TyperGroup

from worldplan.agent.config.names import unknown
from worldplan.agent.config.texts import one_line, visible
from worldplan.agent.training import foreign

_Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # of the system's errors: the disk is full
# Click's, which may be a part of Typer or a package beside it.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class Commands(TyperGroup):
    """Commands of which what is not understood is one line too, with exit status 2."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **how: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args) or ["--help"]
        try:
            code = super().main(words, *rest, **{**how, "standalone_mode": False})
        except _UsageError as error:
            print(f"worldplan: {_usage(error)}", file=sys.stderr)
            code = 2
        if how.get("standalone_mode", True):
            sys.exit(code)
        return code

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            ctx.fail(unknown("command", args[0], self.commands))
        return super().resolve_command(ctx, args)


def _usage(error: Any) -> str:
    """What is wrong with the words of a command, and where its help is."""
    said = error.format_message()
    if hasattr(error, "possibilities"):  # there is no such option
        options = [name for option in error.ctx.command.params for name in option.opts]
        known = [name for name in options if name.startswith("--")]
        said = unknown("option", error.option_name, [*known, "--help"])
        if any(p.name in ("overrides", "settings") for p in error.ctx.command.params):
            from worldplan.agent.config.overrides import nearest

            if near := nearest(error.option_name.lstrip("-").replace("-", "_")):
                said = (
                    f"no option is called {error.option_name!r}; a setting is written "
                    f"{' or '.join(f'{name}=VALUE' for name in near)}"
                )
    where = error.ctx.command_path if error.ctx else "worldplan"
    return f"{one_line(said)} (see `{where} --help`)"


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

    Notes that the error carries follow in that line. Of an exception of other people's code its
    traceback in that code comes before. Warnings are one line there too, without the source that
    raised them. With `debug` the whole traceback of an error comes before its line.
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
        if error is None or isinstance(error, typer.Exit | typer.Abort):
            return
        source = _source(error)
        if isinstance(error, SystemExit) and source is None:
            return
        interrupted = isinstance(error, KeyboardInterrupt)
        if self.debug:
            traceback.print_exception(error)
        elif source and not interrupted:
            print(visible(foreign.report(error)), file=sys.stderr)
        line = "stopped" if interrupted else _line(error, source)
        said = "; ".join([line, *map(one_line, getattr(error, "__notes__", ()))])
        print(f"worldplan: {said}", file=sys.stderr)
        raise typer.Exit(130 if interrupted else 1) from error


def _source(error: BaseException) -> str | None:
    """Whose exception it is, such as "the environment"; None if its line says all."""
    full = isinstance(error, OSError) and error.errno in _FULL
    return None if full or isinstance(error, DependencyNotInstalled) else foreign.origin(error)


def _line(error: BaseException, source: str | None) -> str:
    """What a user can do something about is said as it is; else its kind is said too."""
    what = one_line(f"{type(error).__name__}: {error}".removesuffix(": "))
    if source:
        return f"{source} raised {what}"
    if isinstance(error, OSError) and error.strerror:
        file = "" if error.filename is None else f": {error.filename}"
        return one_line(f"{error.strerror}{file}")
    return one_line(error) if _is_ours(error) else f"{what} (--debug shows where)"


def _is_ours(error: BaseException) -> bool:
    """Whether the error was raised to be read by a user."""
    if isinstance(error, DependencyNotInstalled) or type(error).__module__.startswith("worldplan."):
        return True
    places = list(traceback.walk_tb(error.__traceback__))
    raised_in = places[-1][0].f_globals.get("__name__", "") if places else ""
    wanted = isinstance(error, ValueError | OSError | FloatingPointError)
    return wanted and raised_in.startswith("worldplan.")
