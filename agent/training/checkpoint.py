"""Checkpoints: tensors as safetensors, the rest as JSON, so that loading one cannot run code.

    run_dir/checkpoints/step_000012000/tensors.safetensors
                                       state.json        format, versions, the caller's state
                                       manifest.json     what ties them together
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
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from worldplan.agent.data.atomic import sync, write_text
from worldplan.agent.training.disk import manifest

FORMAT, READABLE = 3, (1, 2, 3)  # the one that is written, and those that are read
_TIED = 3  # the first with a manifest
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
    # Safetensors refuses tensors that share memory or are not contiguous.
    copies = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()
    }
    files = {"tensors.safetensors": serialise(copies), "state.json": text.encode()}
    draft.mkdir(parents=True)
    try:
        manifest.write(draft, manifest.run_id(run_dir), step, files)
        sync(draft)
        os.replace(draft, final)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)  # it takes room on a full disk
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(final)
        raise
    sync(folder)
    write_text(folder / "latest", name + "\n")
    sync(folder)

    others = sorted(path for path in folder.glob("step_*") if path != final)
    # A later one is from a run that was interrupted, and resumed from an earlier checkpoint.
    older = [path for path in others if path < final and _whole(path)]
    older = older[-keep + 1 :] if keep > 1 else []
    for path in others:
        if path not in older:
            shutil.rmtree(path, ignore_errors=True)
    return final


def find(path: Path) -> Path:
    """The checkpoint folder of `path`: the latest whole one of a run, or `path` itself.

    Warns if the latest one is missing or damaged, and another one is taken.

    Raises:
        FileNotFoundError: there is nothing at `path`; the message names the runs nearby.
        ValueError: `path` is not a run; likewise. Or all of its checkpoints are damaged.
    """
    if (path / "state.json").is_file():
        _check(path)
        return path
    folder = path / "checkpoints"
    latest = _latest(folder)
    there = sorted((p for p in folder.glob("step_*") if p.is_dir()), reverse=True)
    if not there and not latest:
        if not path.exists():
            raise FileNotFoundError(f"no run at {path}.{_suggestion(path)}")
        raise ValueError(f"{path} holds no checkpoint.{_suggestion(path)}")
    wrong = [] if latest else [f"{folder / 'latest'} is missing"]
    if latest and folder / latest not in there:
        wrong = [f"its latest checkpoint {latest} is missing"]
    for found in sorted(there, key=lambda p: p.name != latest):
        try:
            _check(found)
        except (ValueError, OSError) as error:
            wrong.append(str(error))
            continue
        if wrong:
            warnings.warn(f"{path}: {'; '.join(wrong)}: taking {found.name}", stacklevel=2)
        return found
    raise ValueError(f"{path}: {'; '.join(wrong)}; expected at least one whole checkpoint")


def read(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on `device`, and state of the checkpoint folder `path`, as given to `save`.

    Warns if the packages that decide results have other versions now.

    Raises:
        ValueError: another format, or damaged files.
        FileNotFoundError: a file is missing.
    """
    found, then, state = _check(path)
    now = versions()
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
        ValueError: the optimizer has other parameter groups, or another state.
        KeyError: tensors are missing.
    """
    content = unflatten(state, tensors)
    content["state"] = {int(index): values for index, values in content["state"].items()}
    # JSON has no tuples; the groups of the optimizer show where they were.
    for saved, group in zip(content["param_groups"], optimizer.param_groups, strict=False):
        for key, value in saved.items():
            if isinstance(value, list) and isinstance(group.get(key), tuple):
                saved[key] = tuple(value)
            own = group.get(key)
            if isinstance(own, float | tuple) and (type(saved[key]) is not type(own)):
                raise ValueError(
                    f"expected {own!r} or alike as the optimiser's {key}, got {value!r}"
                )
    optimizer.load_state_dict(content)
    kept = {frozenset(values) for values in optimizer.state.values()}
    if len(kept) > 1:
        names = " or ".join(", ".join(sorted(names)) for names in kept)
        raise ValueError(f"expected the optimiser to keep the same of all weights, got {names}")
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if not isinstance(value, Tensor) or value.shape not in (parameter.shape, ()):
                raise ValueError(f"the optimiser's {key} does not fit weights {parameter.shape}")


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


def _check(path: Path) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Format, versions and state of a checkpoint, whose files belong together.

    Raises:
        ValueError, FileNotFoundError: they do not, or are damaged.
    """
    tied = manifest.check(path)
    try:
        document = json.loads((path / "state.json").read_text(encoding="utf-8"))
        found, then, state = document["format"], document["versions"], document.get("state")
        if not (isinstance(found, int) and isinstance(then, dict) and isinstance(state, dict)):
            raise TypeError("format, versions and state are no number and objects")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path / 'state.json'} is damaged: {error!r}") from error
    if found >= _TIED and not tied:
        raise ValueError(f"{path} is damaged: its manifest.json is missing")
    return found, then, state


def _whole(path: Path) -> bool:
    try:
        _check(path)
    except (ValueError, OSError):
        return False
    return True


def _latest(folder: Path) -> str:
    pointer = folder / "latest"
    if not pointer.is_file():
        return ""
    return pointer.read_text(encoding="utf-8", errors="replace").strip()


def _suggestion(path: Path) -> str:
    """A sentence that names runs nearby, the most similar names first."""
    nearby = {str(run): run for place in (path, path.parent, Path("runs")) for run in _runs(place)}
    names = {run.name: text for text, run in nearby.items()}
    if close := get_close_matches(path.name, names, n=3):
        return f" Did you mean {' or '.join(names[name] for name in close)}?"
    return f" Runs nearby: {', '.join(sorted(nearby)[:5])}." if nearby else ""


def _runs(place: Path) -> Iterable[Path]:
    return (pointer.parent.parent for pointer in place.glob("*/checkpoints/latest"))
