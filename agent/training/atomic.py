"""Files that are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never half of it."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(content, indent=indent) + "\n")
    draft.replace(path)
