"""Files that are complete or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Writes JSON atomically: a reader sees the old file or the new one, never a part of it."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(content, indent=indent) + "\n")
    draft.replace(path)
