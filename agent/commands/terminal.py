"""What commands share: settings, where they print and write, and how they fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from worldplan.agent.config.names import folder_name
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
    name = folder_name(config.task, str(config.seed), f"{datetime.now():%m%d-%H%M%S}")
    new = Path("runs") / name
    run_dir: Path = config.run_dir or new
    if (run_dir / "config.yaml").exists():
        going_on = f"go on with it by `worldplan train --resume {run_dir}`, or "
        if (run_dir / "fit.csv").exists():
            going_on = ""  # a fit is not gone on with
        raise FileExistsError(f"{run_dir} already holds a run; {going_on}choose another run_dir")
    return run_dir


def will_write(file: Path | None, ending: str) -> None:
    """Finds out before hours are spent on what goes into the file.

    Raises:
        ValueError: its name has another ending, or is a folder's.
    """
    if file is None:
        return
    if file.suffix != ending or file.is_dir():
        raise ValueError(f"expected a file that ends in {ending}, got {str(file)!r}")
    file.parent.mkdir(parents=True, exist_ok=True)
