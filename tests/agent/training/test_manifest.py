"""Damaged, swapped and missing files of a checkpoint are noticed, and the former one is taken."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from worldplan.agent.training import checkpoint

FILES = ("tensors.safetensors", "state.json", "manifest.json")


def two(run: Path) -> tuple[Path, Path]:
    """A run with two checkpoints."""
    first, second = (
        checkpoint.save(run, step, {"w": torch.full((40,), float(step))}, {"step": step})
        for step in (100, 200)
    )
    return first, second


def flip(file: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("seed", range(5))
def test_a_flipped_bit_is_noticed(tmp_path: Path, name: str, seed: int) -> None:
    first, second = two(tmp_path)
    flip(second / name, seed)
    with pytest.raises((ValueError, FileNotFoundError)):
        checkpoint.read(second)
    with pytest.warns(UserWarning, match="taking step_000000100"):
        assert checkpoint.find(tmp_path) == first


def cut(first: Path, second: Path) -> None:
    file = second / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def empty(first: Path, second: Path) -> None:
    for name in FILES:
        (second / name).write_bytes(b"")


def swap_file(first: Path, second: Path) -> None:
    shutil.copy(first / "tensors.safetensors", second)


def swap_step(first: Path, second: Path) -> None:
    shutil.rmtree(second)
    shutil.copytree(first, second)


def swap_run(first: Path, second: Path) -> None:
    other = two(second.parent.parent / "other")[1]
    shutil.rmtree(second)
    shutil.copytree(other, second)


def lose_file(first: Path, second: Path) -> None:
    (second / "state.json").unlink()


def lose_manifest(first: Path, second: Path) -> None:
    (second / "manifest.json").unlink()


def lose_checkpoint(first: Path, second: Path) -> None:
    shutil.rmtree(second)


@pytest.mark.parametrize(
    "damage",
    [cut, empty, swap_file, swap_step, swap_run, lose_file, lose_manifest, lose_checkpoint],
)
def test_the_former_checkpoint_is_taken_with_a_warning(
    tmp_path: Path, damage: Callable[[Path, Path], None]
) -> None:
    first, second = two(tmp_path)
    damage(first, second)
    with pytest.warns(UserWarning, match="taking step_000000100"):
        assert checkpoint.find(tmp_path) == first
    # The next one replaces the damaged one, and not the good one.
    third = checkpoint.save(tmp_path, 200, {"w": torch.ones(1)}, {})
    assert checkpoint.find(tmp_path) == third
    assert {p for p in third.parent.iterdir() if p.is_dir()} == {first, third}


def test_a_missing_pointer_is_found_by_looking(tmp_path: Path) -> None:
    _, second = two(tmp_path)
    for text in (None, "", "step_9", "../..", "\0"):
        pointer = tmp_path / "checkpoints" / "latest"
        pointer.unlink() if text is None else pointer.write_text(text)
        with pytest.warns(UserWarning, match="taking step_000000200"):
            assert checkpoint.find(tmp_path) == second


def test_without_a_whole_checkpoint_all_damages_are_named(tmp_path: Path) -> None:
    for path in two(tmp_path):
        flip(path / "tensors.safetensors", 0)
    with pytest.raises(ValueError, match=r"000000200.*damaged.*000000100.*damaged") as caught:
        checkpoint.find(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_copy_of_a_checkpoint_can_be_read_anywhere(tmp_path: Path) -> None:
    _, second = two(tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoint.read(Path(shutil.copytree(second, tmp_path / "best")))[1] == {"step": 200}


def test_a_full_disk_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = two(tmp_path)

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, 300, {"w": torch.ones(1)}, {})
    assert {p for p in first.parent.iterdir() if p.is_dir()} == {first, second}
    assert checkpoint.find(tmp_path) == second


def test_a_lost_id_is_that_of_the_checkpoints(tmp_path: Path) -> None:
    """A new one would make the former checkpoints those of another run."""
    first, second = two(tmp_path)
    before = (tmp_path / "run.json").read_text()
    for content in (None, "", "{}", '{"id": 3}'):
        (tmp_path / "run.json").unlink()
        if content is not None:
            (tmp_path / "run.json").write_text(content)
        third = checkpoint.save(tmp_path, 300, {"w": torch.zeros(3)}, {"step": 300}, keep=3)
        assert (tmp_path / "run.json").read_text() == before
        assert checkpoint.read(first)[1] == {"step": 100}
        shutil.rmtree(third)
    (second / "manifest.json").write_text("")
    (tmp_path / "run.json").unlink()
    checkpoint.save(tmp_path, 300, {"w": torch.zeros(3)}, {"step": 300})
    assert (tmp_path / "run.json").read_text() == before
