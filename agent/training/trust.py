"""Which environments somebody else's checkpoint may have made.

A checkpoint names an environment, and whoever wrote it chose the name: `module:Id` imports a
module, and a text in `env.kwargs` may name any file. Such an environment is made if its module is
imported already, if the user allows it, or if this user has made the very same one before.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from worldplan.agent.config.texts import one_line
from worldplan.envs import EnvConfig


def require(
    env: EnvConfig, source: Path | str, *, trust: bool = False, named: str | None = None
) -> None:
    """Checks that the environment which `source`, a run or a checkpoint, names may be made.

    Args:
        trust: the user allows whatever it is.
        named: the id that the user gave again; it allows the module, if it is the same.

    Raises:
        ValueError: it is not allowed, with what it would do; or `named` is another environment.
    """
    if named is not None and named != env.id:
        raise ValueError(f"{source} was made in {env.id!r}; expected that as --env, got {named!r}")
    acts = [*(_imports(env) if named is None else ()), *_texts(env)]
    if acts and not trust and not _allowed(env):
        raise ValueError(
            f"{source} is not trusted: its environment {env.id!r} would {' and '.join(acts)}. If "
            "you trust whoever made it, add --trust (worldplan.load: trust=True)"
            + (f" or --env {one_line(env.id)}" if not [*_texts(env)] else "")
        )
    if trust or named is not None:
        allow(env)


def allow(env: EnvConfig) -> None:
    """Notes that this user has had the environment made, so that its runs can be used again."""
    if (":" not in env.id and not [*_texts(env)]) or _allowed(env):
        return
    with suppress(OSError, RuntimeError):  # no home, or none to write to: the user is asked again
        file = _record()
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as record:
            record.write(_digest(env) + "\n")


def _imports(env: EnvConfig) -> Iterator[str]:
    """What making the environment imports that is not imported yet."""
    module = env.id.rpartition(":")[0]
    if module and module not in sys.modules:
        yield f"import the module {module!r} ({_place(module)})"


def _place(module: str) -> str:
    """Where a module would come from. Only its first name is looked up: that imports nothing."""
    first = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        spec = None
    return str(spec.origin or "a folder") if spec else "not installed here"


def _texts(env: EnvConfig) -> Iterator[str]:
    """The texts with which it would be made: any of them may name a file."""
    for name, value in env.kwargs.items():
        if not _is_number(value):
            yield f"be made with {name}={one_line(repr(value), 80)}"


def _is_number(value: Any) -> bool:
    """Whether there are only numbers, truth values and None in it."""
    if isinstance(value, dict):
        return all(map(_is_number, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_number, value))
    return value is None or isinstance(value, bool | int | float)


def _allowed(env: EnvConfig) -> bool:
    try:
        return _digest(env) in _record().read_text(encoding="utf-8").split()
    except (OSError, RuntimeError, UnicodeDecodeError):
        return False


def _record() -> Path:
    """The file with digests of environments that this user has had made."""
    state = os.environ.get("XDG_STATE_HOME")
    folder = Path(state) if state else Path.home() / ".local" / "state"
    return folder / "worldplan" / "environments"


def _digest(env: EnvConfig) -> str:
    made_from = json.dumps([env.id, env.kwargs], sort_keys=True, default=str)
    return hashlib.blake2b(made_from.encode(), digest_size=32).hexdigest()
