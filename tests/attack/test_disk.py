"""A disk that is full at any moment ends a run in one line; once there is room, nothing is lost.

The run is trained in a forked process, whose files may not grow beyond a limit (`RLIMIT_FSIZE`), or
whose folder is a small file system of its own, where mounting one is allowed.
`pytest -m slow tests/attack -s` tries dozens of sizes.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.helpers.attack.digests import digest_of_run
from tests.helpers.attack.forked import SETTINGS, TOY, in_child, train
from worldplan.agent.commands.main import app
from worldplan.agent.training.disk import run_folder

resource = pytest.importorskip("resource", reason="needs limits on files")
ENV = [TOY["env"]["id"], *(f"env.kwargs.{k}={v}" for k, v in TOY["env"]["kwargs"].items())]


@contextmanager
def mounted(folder: Path, kib: int) -> Iterator[Callable[[int], None]]:
    """A file system of that size in the folder; calling what is given changes its size."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")

    def resize(kib: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kib}k", str(folder)], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def told(run_dir: Path, said: Path) -> None:
    """Trains by the command; writes its exit status, and what it said."""
    words = ["--env", *ENV, *SETTINGS, f"run_dir={run_dir}"]
    if run_folder.holds_run(run_dir):
        words = ["--resume", str(run_dir), "--trust"]
    done = CliRunner().invoke(app, ["train", *words])
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    lines = [x for x in done.stderr.splitlines() if x and not x.startswith("worldplan: warning: ")]
    said.write_text("\n".join([str(done.exit_code), repr(done.exception), *lines]))


def kind(status: int, said: Path) -> str:
    """What came of it; raises AssertionError where it was not one line."""
    assert status == 0, f"it died of {status}"
    code, exception, *lines = said.read_text().splitlines()
    if code == "0":
        return "trained to the end"
    assert code == "1", (code, exception)
    assert len(lines) == 1, lines
    assert lines[0].startswith("worldplan: "), lines
    assert "--debug shows" not in lines[0], lines
    return "ended in one line"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    train(SETTINGS, run_dir)
    return digest_of_run(run_dir)


def limited(size: int, home: Path, wanted: str) -> str:
    run_dir, said = home / "run", home / "said"

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))
        told(run_dir, said)

    found = kind(in_child(child), said)
    train(SETTINGS, run_dir)
    assert digest_of_run(run_dir) == wanted
    return found


def crowded(kib: int, home: Path, wanted: str) -> str:
    said = home / "said"
    with mounted(home / "disk", kib) as resize:
        run_dir = home / "disk" / "run"
        found = kind(in_child(lambda: told(run_dir, said)), said)
        resize(100_000)
        train(SETTINGS, run_dir)
        run_folder.let_go(run_dir)
        assert digest_of_run(run_dir) == wanted
    return found


KINDS = {"limit on files": limited, "small disk": crowded}


def campaign(name: str, sizes: list[int], home: Path, wanted: str) -> None:
    kept: Counter[str] = Counter()
    broken = []
    for i, size in enumerate(sizes):
        place = home / str(i)
        place.mkdir()
        try:
            kept[KINDS[name](size, place, wanted)] += 1
        except (AssertionError, OSError, ValueError) as error:
            broken.append(f"{size}: {error}")
    print(f"\n{name}: {len(sizes)} sizes, {len(broken)} promises broken; {dict(kept)}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("name", "sizes"), [("limit on files", [300, 60_000]), ("small disk", [8, 200, 400])]
)
def test_a_full_disk(name: str, sizes: list[int], undisturbed: str, tmp_path: Path) -> None:
    campaign(name, sizes, tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "low", "high"), [("limit on files", 10, 1e6), ("small disk", 4, 900)]
)
def test_a_full_disk_long(
    name: str, low: float, high: float, undisturbed: str, tmp_path: Path
) -> None:
    sizes = np.random.default_rng().uniform(np.log(low), np.log(high), 40)
    campaign(name, np.exp(sizes).astype(int).tolist(), tmp_path, undisturbed)
