"""What ties the files of a checkpoint together: the run's id, the step, lengths and digests.

Without it a cut, a flipped bit, or a file of another run or step would be taken for the agent.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

from worldplan.agent.data.atomic import sync, write_json

_FILE, _RUN = "manifest.json", "run.json"


def run_id(run_dir: Path) -> str:
    """The id of a run. If it was lost, its checkpoints have it; a new run's is drawn."""
    if (known := _read(run_dir / _RUN, "id")) is None:
        newest_first = sorted((run_dir / "checkpoints").glob("step_*"), reverse=True)
        kept = (_read(folder / _FILE, "run") for folder in newest_first)
        known = next((id for id in kept if id), None) or uuid.uuid4().hex
        write_json(run_dir / _RUN, {"id": known})
    return known


def write(folder: Path, run: str, step: int, files: dict[str, bytes]) -> None:
    """Writes the files of a checkpoint, and the manifest last."""
    described = {}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        sync(folder / name)
        described[name] = {"bytes": len(content), "blake2b": _digest(content)}
    write_json(folder / _FILE, {"run": run, "step": step, "files": described})


def check(folder: Path) -> bool:
    """Checks the files of a checkpoint. False if it has no manifest, as formats 1 and 2 have none.

    Raises:
        ValueError: a file is damaged, or of another run or step.
        FileNotFoundError: a file is missing.
    """
    if not (folder / _FILE).is_file():
        return False
    try:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        run, step = str(content["run"]), int(content["step"])
        files = {str(k): (v["bytes"], v["blake2b"]) for k, v in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{folder / _FILE} is damaged: {error!r}") from error
    if folder.name.startswith("step_") and not folder.name.startswith(f"step_{step:09d}"):
        raise ValueError(f"{folder} is damaged: its manifest is that of step {step}")
    inside = folder.parent.name == "checkpoints"
    known = _read(folder.parent.parent / _RUN, "id") if inside else None
    if known not in (None, run):
        raise ValueError(f"{folder} is a checkpoint of another run: {run}, not {known}")
    for name in ("tensors.safetensors", "state.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing")
        found = (folder / name).read_bytes()
        length, digest = files.get(name, (None, None))
        if len(found) != length:
            raise ValueError(f"{folder / name} is damaged: {len(found)} bytes, not {length}")
        if _digest(found) != digest:
            raise ValueError(f"{folder / name} is damaged, or of another checkpoint")
    return True


def _read(file: Path, name: str) -> str | None:
    """A text of this name in a JSON file; None if there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=32).hexdigest()
