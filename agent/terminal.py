"""What all commands share: where they print, and how they fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from worldplan.envs import EnvironmentFault

console = Console(soft_wrap=True)


@contextmanager
def plainly() -> Iterator[None]:
    """Turns what a user can mend into one line on standard error and exit status 1."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError, EnvironmentFault) as error:
        print(f"worldplan: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
