"""A long run needs no more memory, open files or room on disk than a short one.

Replay, curves and logs grow by what they hold; all else must stay as it is after the start.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from tests.helpers.attack.forked import SETTINGS, TOY
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.events import CheckpointEvent, Listener
from worldplan.agent.training.trainer import Trainer

PROC = Path("/proc/self")
if not (PROC / "statm").exists():
    pytest.skip("needs /proc", allow_module_level=True)

STEPS = 2000
GROWS = "curve.csv", "episodes.csv", "diagnostics.csv", "logs"


@dataclass(frozen=True)
class Use:
    step: int
    resident: int  # bytes
    handles: int
    folder: int  # bytes on disk, of what does not grow by what it holds
    files: int


class Watch(Listener):
    """Takes note at each checkpoint."""

    def __init__(self) -> None:
        self.seen: list[Use] = []

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        parts = [p for p in self.run.run_dir.rglob("*") if p.is_file()]
        parts = [p for p in parts if p.relative_to(self.run.run_dir).parts[0] not in GROWS]
        resident = int((PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        size = sum(512 * p.stat().st_blocks for p in parts)
        handles = len(list((PROC / "fd").iterdir()))
        self.seen.append(Use(event.step, resident, handles, size, len(parts)))


@pytest.mark.slow
def test_a_long_run_grows_by_nothing_but_its_data(tmp_path: Path) -> None:
    watch = Watch()
    settings = [*SETTINGS, f"steps={STEPS}", "eval_interval=200", "checkpoint_interval=50",
                "updates_per_step=0.2", "log_interval=50", "replay.capacity=500"]  # fmt: skip
    Trainer(resolve(TOY, settings), tmp_path / "run", Console(quiet=True), listeners=[watch]).run()
    first, last = watch.seen[len(watch.seen) // 2], watch.seen[-1]
    growth = (last.resident - first.resident) / 2**20
    print(
        f"\n{first.step} to {last.step} steps: {growth:.1f} MiB of memory, "
        f"{last.handles - first.handles} handles, {last.folder - first.folder} bytes on disk"
    )
    assert growth < 8
    assert last.handles <= first.handles
    assert last.folder <= first.folder + 4096
    assert last.files == first.files
