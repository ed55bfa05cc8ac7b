"""What commands share: settings, where they print and write, and how they fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console

from worldplan.envs import EnvironmentFault

console = Console(soft_wrap=True)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="settings: steps=20000 seed=3 planner.horizon=5 ...", metavar="[KEY=VALUE]"
    ),
]


@contextmanager
def plainly() -> Iterator[None]:
    """Turns what a user can mend into one line on standard error and exit status 1."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError, EnvironmentFault) as error:
        print(f"worldplan: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def unused(config: Any) -> Path:
    """The folder of a new run."""
    name = config.task.replace("/", "-").replace(":", "-")
    new = Path("runs") / f"{name}-{config.seed}-{datetime.now():%m%d-%H%M%S}"
    run_dir: Path = config.run_dir or new
    if (run_dir / "config.yaml").exists():
        raise FileExistsError(
            f"{run_dir} already holds a run; go on with it by "
            f"`worldplan train --resume {run_dir}`, or choose another run_dir"
        )
    return run_dir


def choice(name: str, literal: Any, what: str) -> Any:
    """The name, if it is one of a Literal's; else ValueError with the nearest one."""
    import difflib

    names = list(get_args(literal))
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"no {what} {name!r}. Did you mean {near!r}? {what.capitalize()}s: {', '.join(names)}"
        )
    return name
