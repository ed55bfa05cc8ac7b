"""Ways in which the files of a run or of a data set get damaged."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.checkpoints import rewrite, rewrite_tensors

Rng = np.random.Generator
# Changes the copy of a run that it is given; `other` is the folder of another run.
Damage = Callable[[Path, Path, Rng], None]

LEAVES: list[Any] = [
    *(None, True, -1, 0.5, 1e308, 10**30, float("nan"), "", "x", "\x1b[2J[/bold]\n", "../../x"),
    *([], {}, [[1]], [None], {"kind": "x"}, {"tensor": "x"}),
]
CHECKPOINT = ("tensors.safetensors", "state.json", "manifest.json")
AROUND = ("run.json", "checkpoints/latest", "curve.csv", "episodes.csv", "diagnostics.csv",
          "config.yaml", "lock")  # fmt: skip
REPLAY = ("replay/rows.npy", "replay/written.npy")


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("step_*"))


def former(run: Path) -> Path:
    return min((run / "checkpoints").glob("step_*"))


def flip(file: Path, rng: Rng, bits: int = 1) -> None:
    content = bytearray(file.read_bytes())
    for at in rng.integers(max(1, len(content)), size=bits).tolist():
        content[at] ^= 1 << int(rng.integers(8))
    file.write_bytes(bytes(content))


def cut(file: Path, rng: Rng) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(rng.integers(len(content)))])


def grow(file: Path, rng: Rng) -> None:
    file.write_bytes(file.read_bytes() + rng.bytes(int(rng.integers(1, 100))))


def zeros(file: Path, rng: Rng) -> None:
    """A block of zeros, as a file system leaves after a power cut."""
    content = bytearray(file.read_bytes())
    at = int(rng.integers(len(content)))
    length = min(len(content) - at, 512)
    content[at : at + length] = bytes(length)
    file.write_bytes(bytes(content))


def noise(file: Path, rng: Rng) -> None:
    file.write_bytes(rng.bytes(int(rng.integers(1, 2000))))


def empty(file: Path, rng: Rng) -> None:
    file.write_bytes(b"")


def lose(file: Path, rng: Rng) -> None:
    file.unlink()


def folder(file: Path, rng: Rng) -> None:
    """A folder in place of the file."""
    file.unlink()
    file.mkdir()


BYTES = (flip, cut, grow, zeros, noise, empty, lose, folder)


def in_file(name: str, how: Callable[[Path, Rng], None]) -> Damage:
    """Damages one file of the run, or of its newest checkpoint."""

    def damage(run: Path, other: Path, rng: Rng) -> None:
        how(newest(run) / name if name in CHECKPOINT else run / name, rng)

    damage.__name__ = f"{how.__name__} {name}"
    return damage


def both(run: Path, other: Path, rng: Rng) -> None:
    """No checkpoint is whole."""
    for checkpoint in (newest(run), former(run)):
        flip(checkpoint / "tensors.safetensors", rng)


def file_of_step(run: Path, other: Path, rng: Rng) -> None:
    name = str(rng.choice(CHECKPOINT))
    shutil.copy(former(run) / name, newest(run) / name)


def file_of_run(run: Path, other: Path, rng: Rng) -> None:
    name = str(rng.choice(CHECKPOINT))
    shutil.copy(newest(other) / name, newest(run) / name)


def step_of_run(run: Path, other: Path, rng: Rng) -> None:
    target = newest(run)
    shutil.rmtree(target)
    shutil.copytree(newest(other), target)


def steps_swapped(run: Path, other: Path, rng: Rng) -> None:
    new, old = newest(run), former(run)
    new.rename(new.with_name("aside"))
    old.rename(new)
    (new.parent / "aside").rename(old)


def replay_of_run(run: Path, other: Path, rng: Rng) -> None:
    name = str(rng.choice(REPLAY))
    shutil.copy(other / name, run / name)


def replay_row(run: Path, other: Path, rng: Rng) -> None:
    rows = np.lib.format.open_memmap(run / "replay" / "rows.npy", mode="r+")
    row, name = int(rng.integers(20)), str(rng.choice(["observation", "action", "reward"]))
    rows[name][row] = rng.choice([np.nan, np.inf, 0.123, -7.0])
    rows.flush()


SWAPS: tuple[Damage, ...] = (
    both, file_of_step, file_of_run, step_of_run, steps_swapped, replay_of_run, replay_row,
)  # fmt: skip


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all parts of a JSON document."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


def change_leaf(document: Any, rng: Rng) -> None:
    """Replaces or removes one part of a JSON document."""
    paths = list(leaves(document))
    *above, last = paths[int(rng.integers(len(paths)))]
    for key in above:
        document = document[key]
    if rng.random() < 0.2:
        del document[last]
    else:
        document[last] = LEAVES[int(rng.integers(len(LEAVES)))]


def leaf(name: str) -> Damage:
    """Changes JSON of the newest checkpoint, without a fitting manifest."""

    def damage(run: Path, other: Path, rng: Rng) -> None:
        file = newest(run) / name
        document = json.loads(file.read_text())
        change_leaf(document, rng)
        file.write_text(json.dumps(document, indent=1))

    damage.__name__ = f"leaf of {name}"
    return damage


def fitting_leaf(run: Path, other: Path, rng: Rng) -> None:
    """Changes the state as its writer could have: the manifest fits."""
    rewrite(newest(run), lambda document: change_leaf(document["state"], rng))


def fitting_tensor(run: Path, other: Path, rng: Rng) -> None:
    """Likewise one of the tensors."""

    def change(tensors: dict[str, np.ndarray]) -> None:
        name = sorted(tensors)[int(rng.integers(len(tensors)))]
        value = tensors[name]
        changes: list[Any] = [
            None, value * np.float32(np.nan), np.full_like(value, 7), value[None],
            value.reshape(-1)[:0], value.astype(np.int64), value.astype(np.float64),
            np.full(value.shape, np.inf, np.float32),
        ]  # fmt: skip
        changed = changes[int(rng.integers(len(changes)))]
        if changed is None:
            del tensors[name]
        else:
            tensors[name] = np.ascontiguousarray(changed)

    rewrite_tensors(newest(run), change)


FITTING: tuple[Damage, ...] = (fitting_leaf, fitting_tensor)
TO_RUNS: tuple[Damage, ...] = (
    *(in_file(name, how) for name in (*CHECKPOINT, *REPLAY, *AROUND) for how in BYTES),
    *SWAPS,
    *(leaf(name) for name in ("state.json", "manifest.json")),
)


def array(file: Path, rng: Rng) -> None:
    """One array of an .npz is no longer what a data set holds."""
    arrays = dict(np.load(file))
    name = str(rng.choice(["observation", "action", "next_observation", "episode", "about"]))
    value = arrays[name]
    if name == "about":
        changes: list[Any] = [np.array("{"), np.array("[]"), np.array('{"spec": 3}'), np.zeros(3)]
    else:
        spoilt = value.astype(np.float64).copy()
        spoilt.reshape(-1)[int(rng.integers(spoilt.size))] = rng.choice([np.nan, np.inf, 1e300])
        changes = [
            None, spoilt, value[:-1], value[None], value.astype(str), value.astype(complex),
            value.astype(object), value[::-1], np.zeros(()), value[:0], value.astype("M8[s]"),
        ]  # fmt: skip
    change = changes[int(rng.integers(len(changes)))]
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change
    np.savez(file, **arrays)


TO_DATA: tuple[Callable[[Path, Rng], None], ...] = (*BYTES, array, array, array)
