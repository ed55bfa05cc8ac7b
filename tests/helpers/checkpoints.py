"""Checkpoints with another content, whose manifest still fits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldplan.agent.training.disk import manifest

_TENSORS, _STATE = "tensors.safetensors", "state.json"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the document in `state.json` of a run's checkpoint, as its writer could have."""
    document = json.loads((folder / _STATE).read_text())
    change(document)
    step = json.loads((folder / "manifest.json").read_text())["step"]
    content = {
        _TENSORS: (folder / _TENSORS).read_bytes(),
        _STATE: json.dumps(document).encode(),
    }
    manifest.write(folder, manifest.run_id(folder.parent.parent), step, content)
