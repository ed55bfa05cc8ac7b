"""Learning curves of tasks x settings x seeds: a campaign that can be cut off and goes on.

    python benchmarks/suite.py TASK... [KEY=VALUE...] [--seeds 0,1,2] [--variant "KEY=VALUE ..."]...
        [--jobs N] [--on local|ray|ray://HOST:PORT] [--out FOLDER] [--keep FOLDER]

    python benchmarks/suite.py walker-walk finger-spin steps=12500 --seeds 0,1 \\
        --variant "" --variant "updates_per_step=2 learner.batch_size=256"

KEY=VALUE holds for all runs; each --variant is one more setting of them, and "" is none. Every run
is an ordinary `worldplan train` with one thread, in OUT/TASK/VARIANT/seed-N; runs that are done are
kept, others go on with `--resume`. The same command may be given again with more tasks, seeds or
variants. --keep copies what a report needs of the runs that are done (config.yaml, curve.csv,
diagnostics.csv, episodes.csv, result.json: small files) to a folder, in which they can be
committed; runs that are there count as done, so that a campaign may go on on another machine. At
the end it prints the table of `worldplan report`.

The first seed of all tasks and variants comes first, so that a campaign that is cut off still
compares them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from worldplan.agent.config.names import folder_name
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset
from worldplan.agent.experiments.pool import LOCAL, pool_of
from worldplan.agent.experiments.pool.jobs import Job
from worldplan.agent.experiments.report.curves import find_runs, group, say
from worldplan.agent.training.disk.run_folder import holds_run
from worldplan.agent.training.restore import same_config

KEPT = ("config.yaml", "curve.csv", "diagnostics.csv", "episodes.csv", "result.json")


@dataclass(frozen=True)
class Campaign:
    """What is run: all combinations of these."""

    tasks: Sequence[str]
    settings: Sequence[str] = ()  # `key=value` of all runs
    variants: Sequence[str] = ("",)  # each `key=value ...`
    seeds: Sequence[int] = (0,)

    def jobs(self, out: Path, kept: Path | None = None) -> list[Job]:
        """One for each run, the first seed of everything first.

        Args:
            out: folder of the runs.
            kept: folder of small files of runs that were done elsewhere.

        Raises:
            ValueError: no such task, settings that are not valid, or a run with other settings.
        """
        return [
            self._job(task, variant, seed, out, kept)
            for seed in self.seeds
            for variant in self.variants
            for task in self.tasks
        ]

    def _job(self, task: str, variant: str, seed: int, out: Path, kept: Path | None) -> Job:
        folder = out / task / (folder_name(*variant.split()) if variant else "") / f"seed-{seed}"
        settings = [f"seed={seed}", "threads=1", *self.settings, *variant.split()]
        settings += [f"run_dir={folder}"]
        # Before the first run, not after hours.
        config = resolve(load_preset(task), settings)
        places = [folder]
        same_config(config, folder)
        if kept is not None:
            places.append(kept / folder.relative_to(out))
            same_config(config.model_copy(update={"run_dir": None}), places[-1])
        folder.parent.mkdir(parents=True, exist_ok=True)

        def command() -> list[str]:
            how = ["--resume", str(folder)] if holds_run(folder) else [task, *settings]
            return ["worldplan", "train", *how]

        name = str(folder.relative_to(out))
        log = folder.with_name(f"{folder.name}.log")
        return Job(
            name, command, log, lambda: any((place / "result.json").exists() for place in places)
        )


def keep(out: Path, to: Path) -> int:
    """Copies the small files of all finished runs; returns how many runs there were."""
    done = [path.parent for path in sorted(out.rglob("result.json"))]
    for run in done:
        place = to / run.relative_to(out)
        place.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            if (run / name).exists():
                shutil.copyfile(run / name, place / name)
        config = OmegaConf.load(place / "config.yaml")
        config.run_dir = None  # a path of this machine
        OmegaConf.save(config, place / "config.yaml")
    return len(done)


def _seeds(words: str) -> list[int]:
    """Raises ValueError if they are not whole numbers."""
    try:
        return [int(word) for word in words.split(",")]
    except ValueError:
        raise ValueError(
            f"expected whole numbers separated by commas as --seeds, got {words!r}"
        ) from None


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="+", metavar="TASK or KEY=VALUE")
    parser.add_argument("--seeds", default="0", help="separated by commas")
    parser.add_argument("--variant", action="append", help='"KEY=VALUE ..."; may be repeated')
    parser.add_argument("--jobs", type=int, help="runs at a time; default: one a core")
    parser.add_argument("--out", type=Path, default=Path("runs/suite"))
    parser.add_argument("--keep", type=Path, help="copy the small files of finished runs here")
    parser.add_argument("--on", default=LOCAL, help="local, ray or ray://HOST:PORT")
    given = parser.parse_args(words)
    console = Console(soft_wrap=True)
    try:
        pool = pool_of(given.on)
        campaign = Campaign(
            [word for word in given.words if "=" not in word],
            [word for word in given.words if "=" in word],
            given.variant or [""],
            _seeds(given.seeds),
        )
        if not campaign.tasks:
            raise ValueError("expected at least one task (see `worldplan tasks`)")
        jobs = campaign.jobs(given.out, given.keep)
        console.print(f"{len(jobs)} runs in {given.out}, {sum(job.done() for job in jobs)} done")
        with console.status("") as status:
            pool.run(
                jobs,
                lambda done, now: status.update(f"{done}/{len(jobs)} done; {', '.join(now)}"),
                given.jobs,
            )
        if given.keep is not None:
            console.print(f"{keep(given.out, given.keep)} runs kept in {given.keep}")
        for line in say(group(find_runs([given.keep or given.out]))):
            console.print(line)
    except (ValueError, OSError) as error:
        sys.exit(f"suite.py: {error}")


if __name__ == "__main__":
    main()
