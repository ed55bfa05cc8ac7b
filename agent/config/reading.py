"""Reading what others wrote: whatever is wrong in a file ends in one line that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldplan.agent.config.texts import one_line


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within it, all errors that the content of `path` causes are a ValueError that names it.

    Errors of the system, as of a missing file, stay as they are.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        said = one_line(error)
        if isinstance(error, ValueError) and str(path) in said:
            raise
        if type(error) is ValueError:
            raise ValueError(f"{path}: {said}") from error
        what = f"{type(error).__name__}: {said}"
        raise ValueError(f"{path} is damaged, or not of worldplan: {what}") from error
