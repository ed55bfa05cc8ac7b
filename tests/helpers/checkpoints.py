"""Checkpoints with another content, whose manifest still fits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save

from worldplan.agent.training.checkpoint import find, read
from worldplan.agent.training.disk import manifest

_TENSORS, _STATE = "tensors.safetensors", "state.json"


def same(first: Path, second: Path) -> bool:
    """Whether two runs are at the same point, bit for bit."""
    (one, state), (other, state_too) = (read(find(path)) for path in (first, second))
    tensors = one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
    names = ("counters", "sampling", "replay")
    return tensors and all(state[name] == state_too[name] for name in names)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the document in `state.json` of a run's checkpoint, as its writer could have."""
    document = json.loads((folder / _STATE).read_text())
    change(document)
    _write(folder, {_STATE: json.dumps(document).encode()})


def rewrite_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Changes its tensors likewise."""
    tensors = load_file(folder / _TENSORS)
    change(tensors)
    _write(folder, {_TENSORS: save(tensors)})


def _write(folder: Path, changed: dict[str, bytes]) -> None:
    step = json.loads((folder / "manifest.json").read_text())["step"]
    content = {name: (folder / name).read_bytes() for name in (_TENSORS, _STATE)} | changed
    manifest.write(folder, manifest.run_id(folder.parent.parent), step, content)
