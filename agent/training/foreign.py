"""Exceptions of code that is not this package's: environments, renderers, loggers, costs, plug-ins.

An error's traceback shows who raised it. Behind the last frame of this package stands the code
that it called; which code that was, its file says.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

_PACKAGE = Path(__file__).resolve().parents[2]
_FOLDERS = ("agent", "envs", "planners")
# Files of this package that call other people's code.
_CALLERS = {
    "envs": "the environment",
    "envs/rendering": "the renderer",
    "agent/acting/objective.py": "the cost given to Agent.minimise",
    "agent/data/minari.py": "Minari",
    "agent/training/events.py": "a listener",
    "agent/training/listeners/callbacks.py": "a callback",
    "agent/training/listeners": "a logger",
}


def origin(error: BaseException) -> str | None:
    """What raised the error, such as "the environment"; None if this package did."""
    ours, theirs = _split(error)
    if ours is None or theirs is None:
        return None
    inside = ours.relative_to(_PACKAGE)
    for place in (inside, *inside.parents):
        if place.as_posix() in _CALLERS:
            return _CALLERS[place.as_posix()]
    return None


def report(error: BaseException) -> str:
    """The traceback in the code that raised the error; its notes are this package's."""
    _, theirs = _split(error)
    lines = traceback.TracebackException(type(error), error, theirs)
    lines.__notes__ = None
    return "".join(lines.format())


def _split(error: BaseException) -> tuple[Path | None, TracebackType | None]:
    """The last file of this package that the error came through, and the traceback behind it."""
    ours, theirs = None, error.__traceback__
    frame = theirs
    while frame is not None:
        # Links to the package's folders lead to the same files.
        file = Path(frame.tb_frame.f_code.co_filename).resolve()
        frame = frame.tb_next
        if any(file.is_relative_to(_PACKAGE / folder) for folder in _FOLDERS):
            ours, theirs = file, frame
    return ours, theirs
