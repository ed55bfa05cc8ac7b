"""Checkpoints: tensors as safetensors, the rest as JSON, so that loading one cannot run code.

    run_dir/checkpoints/step_000012000/tensors.safetensors
                                       state.json        format, versions, the caller's state
    run_dir/checkpoints/latest                           name of the newest complete one

A checkpoint is written under another name, synced and renamed; only then is `latest` replaced. A
kill or power cut at any moment leaves the previous checkpoint in place.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FORMAT, READABLE = 2, (1, 2)  # the one that is written, and those that are read
DECISIVE = ("worldplan", "torch", "gymnasium", "mujoco")  # another version may act differently


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, by name."""
    return {
        **{name: _version(name) for name in (*DECISIVE, "numpy")},
        "python": platform.python_version(),
    }


def save(
    run_dir: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any], keep: int = 2
) -> Path:
    """Writes a checkpoint and makes it the latest; keeps `keep` - 1 of the older ones.

    Args:
        tensors: on any device; they may share memory, but do not when they are read.
        state: JSON; tuples are read as lists, and keys as strings.

    Raises:
        TypeError: JSON cannot hold the state. The previous checkpoint stays in place.
        OSError: the disk is full; likewise.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    document = {"format": FORMAT, "step": step, "versions": versions(), "state": state}
    text = json.dumps(document, indent=1)

    folder = run_dir / "checkpoints"
    name = f"step_{step:09d}"
    if _latest(folder) == name:
        name += "_again"  # the same step twice: the first one stays until the second is complete
    final, draft = folder / name, folder / f".{name}.tmp"
    for leftover in (*folder.glob(".*.tmp"), final):  # of an interrupted save
        shutil.rmtree(leftover, ignore_errors=True)
    draft.mkdir(parents=True)
    # Safetensors refuses tensors that share memory or are not contiguous.
    copies = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()
    }
    save_file(copies, draft / "tensors.safetensors")
    (draft / "state.json").write_text(text, encoding="utf-8")
    for path in (draft / "tensors.safetensors", draft / "state.json", draft):
        _sync(path)
    os.replace(draft, final)
    _sync(folder)

    pointer = folder / "latest.tmp"
    pointer.write_text(name + "\n", encoding="utf-8")
    _sync(pointer)
    os.replace(pointer, folder / "latest")
    _sync(folder)

    others = sorted(path for path in folder.glob("step_*") if path != final)
    # A later one is from a run that was interrupted, and resumed from an earlier checkpoint.
    older = [path for path in others if path < final][-keep + 1 :] if keep > 1 else []
    for path in others:
        if path not in older:
            shutil.rmtree(path, ignore_errors=True)
    return final


def find(path: Path) -> Path:
    """The checkpoint folder of `path`: the latest of a run, or `path` itself.

    Raises:
        FileNotFoundError: there is nothing at `path`; the message names the runs nearby.
        ValueError: `path` is not a run; likewise.
    """
    if (path / "state.json").is_file():
        return path
    folder = path / "checkpoints"
    if name := _latest(folder):
        if (folder / name).is_dir():
            return folder / name
        there = ", ".join(sorted(p.name for p in folder.glob("step_*"))) or "none"
        raise ValueError(f"{path}: its latest checkpoint {name} is missing; there: {there}")
    if not path.exists():
        raise FileNotFoundError(f"no run at {path}.{_suggestion(path)}")
    raise ValueError(f"{path} holds no checkpoint.{_suggestion(path)}")


def read(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on `device`, and state of the checkpoint folder `path`, as given to `save`.

    Warns if the packages that decide results have other versions now.

    Raises:
        ValueError: another format, or damaged files.
        FileNotFoundError: a file is missing.
    """
    now = versions()
    try:
        document = json.loads((path / "state.json").read_text(encoding="utf-8"))
        found, then = document["format"], document["versions"]
        if found in READABLE:
            state: dict[str, Any] = document["state"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path / 'state.json'} is damaged: {error!r}") from error
    if found not in READABLE:
        raise ValueError(
            f"{path} has checkpoint format {found}, worldplan {now['worldplan']} reads formats "
            f"{', '.join(map(str, READABLE))}: use the version that wrote it, worldplan "
            f"{then.get('worldplan')}"
        )
    changes = [f"{k} {then.get(k)}, now {now[k]}" for k in DECISIVE if then.get(k) != now[k]]
    if changes:
        warnings.warn(
            f"{path} was written with {'; '.join(changes)}: results may differ", stacklevel=2
        )
    try:
        tensors: dict[str, Tensor] = load_file(path / "tensors.safetensors", device=device)
    except SafetensorError as error:
        raise ValueError(f"{path / 'tensors.safetensors'} is damaged: {error}") from error
    return tensors, state


def flatten(name: str, tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Dicts and lists as JSON; their tensors move to `tensors`, named `name`.something."""
    if isinstance(tree, Tensor):
        tensors[name] = tree
        return {"tensor": name}
    if isinstance(tree, dict):
        return {str(key): flatten(f"{name}.{key}", value, tensors) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [flatten(f"{name}.{i}", value, tensors) for i, value in enumerate(tree)]
    return tree


def unflatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Inverse of `flatten`, except for what JSON changes; tensors are copied."""
    if isinstance(tree, dict):
        if tree.keys() == {"tensor"}:
            return tensors[tree["tensor"]].clone()
        return {key: unflatten(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [unflatten(value, tensors) for value in tree]
    return tree


def optimizer_tensors(
    name: str, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's state as tensors, whose names begin with `name`, and JSON."""
    tensors: dict[str, Tensor] = {}
    return tensors, flatten(name, optimizer.state_dict(), tensors)


def load_optimizer(
    name: str,
    optimizer: torch.optim.Optimizer,
    tensors: dict[str, Tensor],
    state: dict[str, Any],
) -> None:
    """Inverse of `optimizer_tensors`, bit for bit; other entries of `tensors` are ignored.

    Raises:
        ValueError: the optimizer has other parameter groups.
        KeyError: tensors are missing.
    """
    content = unflatten(state, tensors)
    content["state"] = {int(index): values for index, values in content["state"].items()}
    # JSON has no tuples; the groups of the optimizer show where they were.
    for saved, group in zip(content["param_groups"], optimizer.param_groups, strict=False):
        for key, value in saved.items():
            if isinstance(value, list) and isinstance(group.get(key), tuple):
                saved[key] = tuple(value)
    optimizer.load_state_dict(content)


def rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """State of a `default_rng` generator as JSON. (That of a torch.Generator is a tensor.)"""
    return dict(rng.bit_generator.state)


def set_rng_state(rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Inverse of `rng_state`."""
    rng.bit_generator.state = state


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _latest(folder: Path) -> str:
    pointer = folder / "latest"
    return pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""


def _sync(path: Path) -> None:
    """Flushes a file or folder to the disk; Windows cannot sync a folder, and need not."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _suggestion(path: Path) -> str:
    """A sentence that names runs nearby, the most similar names first."""
    nearby = {str(run): run for place in (path, path.parent, Path("runs")) for run in _runs(place)}
    names = {run.name: text for text, run in nearby.items()}
    if close := get_close_matches(path.name, names, n=3):
        return f" Did you mean {' or '.join(names[name] for name in close)}?"
    return f" Runs nearby: {', '.join(sorted(nearby)[:5])}." if nearby else ""


def _runs(place: Path) -> Iterable[Path]:
    return (pointer.parent.parent for pointer in place.glob("*/checkpoints/latest"))
