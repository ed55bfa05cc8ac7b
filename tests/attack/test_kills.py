"""Runs that are killed by `kill -9` and resumed end as undisturbed ones: weights, replay, curves.

A run is trained in a forked process, which dies at a chosen or random moment, again and again.
`pytest -m slow tests/attack -s` kills a hundred times. Two processes never share a folder.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.helpers.attack.digests import digest_of_run, digest_of_weights
from tests.helpers.attack.forked import SETTINGS, TOY, dies_at, in_child, started, train
from worldplan.agent.acting.collect import collect
from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.replay import Replay
from worldplan.agent.training import checkpoint
from worldplan.agent.training.disk import manifest, run_folder
from worldplan.agent.training.held_out import HeldOut
from worldplan.agent.training.offline import fit as fitting
from worldplan.agent.training.offline.fit import TRIPLES_ALONE, fit
from worldplan.agent.training.restore import load
from worldplan.agent.training.trainer import Trainer

if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

SET_UPS = {
    "one": [],
    "num_envs": ["num_envs=2"],
    "capacity": ["replay.capacity=12"],
    "updates": ["updates_per_step=2"],
}
# Moments: before the given call of a function the process dies.
MOMENTS: dict[str, tuple[Any, str]] = {
    "start-up": (manifest, "write"),
    "folder": (run_folder, "let_go"),
    "checkpoint": (checkpoint, "write_text"),
    "digest": (manifest, "write_json"),
    "replay": (Replay, "_append"),
    "transition": (Replay, "_place"),
    "final evaluation": (HeldOut, "final"),
    "evaluation": (HeldOut, "evaluate"),
}


def attack(settings: list[str], run_dir: Path, kills: Iterator[Callable[[], int]]) -> int:
    """Kills until the run is over; the number of kills."""
    count = 0
    for kill in kills:
        status = kill()
        if not os.WIFSIGNALED(status):
            assert status == 0, "it ended with an error"
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        count += 1
    train(settings, run_dir)
    return count


def aimed(settings: list[str], run_dir: Path, moment: str, call: int) -> Callable[[], int]:
    def child() -> None:
        dies_at(*MOMENTS[moment], call)
        train(settings, run_dir)

    return lambda: in_child(child)


def timed(settings: list[str], run_dir: Path, seconds: float) -> Callable[[], int]:
    return lambda: in_child(lambda: train(settings, run_dir), seconds)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    known: dict[str, str] = {}

    def digest(name: str) -> str:
        if name not in known:
            run_dir = tmp_path_factory.mktemp("whole") / "run"
            train([*SETTINGS, *SET_UPS[name]], run_dir)
            known[name] = digest_of_run(run_dir)
        return known[name]

    return digest


@pytest.mark.parametrize(
    ("set_up", "moment", "call"),
    [("one", "start-up", 1), ("one", "checkpoint", 3), ("num_envs", "transition", 60)],
)
def test_a_killed_run_resumes_bit_for_bit(
    undisturbed: Callable[[str], str], set_up: str, moment: str, call: int, tmp_path: Path
) -> None:
    wanted = undisturbed(set_up)  # first: what it imports, the forked processes have too
    settings, run_dir = [*SETTINGS, *SET_UPS[set_up]], tmp_path / "run"
    assert attack(settings, run_dir, iter([aimed(settings, run_dir, moment, call)])) == 1
    assert digest_of_run(run_dir) == wanted


@pytest.mark.slow
def test_a_hundred_kills(undisturbed: Callable[[str], str], tmp_path: Path) -> None:
    rng, kills, wrong = np.random.default_rng(), 0, []
    undisturbed("one")  # first, as above
    while kills < 100:
        set_up = str(rng.choice(list(SET_UPS)))
        settings, run_dir = [*SETTINGS, *SET_UPS[set_up]], tmp_path / f"run-{kills}"
        plan, said = [], []
        for _ in range(int(rng.integers(1, 4))):
            if rng.random() < 0.3:
                seconds = float(rng.uniform(0.01, 1.5))
                plan.append(timed(settings, run_dir, seconds))
                said.append(f"after {seconds:.3f} s")
            else:
                moment, call = str(rng.choice(list(MOMENTS))), int(rng.integers(1, 12))
                plan.append(aimed(settings, run_dir, moment, call))
                said.append(f"{moment} {call}")
        kills += attack(settings, run_dir, iter(plan))
        if digest_of_run(run_dir) != undisturbed(set_up):
            wrong.append(f"{set_up}: {', '.join(said)}")
        shutil.rmtree(run_dir)
    print(f"\n{kills} kills, {len(wrong)} runs that ended otherwise")
    assert not wrong, "\n".join(wrong)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    settings, run_dir = SETTINGS, tmp_path / "run"
    train(settings, run_dir)
    run_folder.hold(run_dir)

    def second() -> None:
        run_folder._held.clear()  # inherited by the fork
        with pytest.raises(BlockingIOError, match="is in use by process"):
            Trainer(resolve(TOY, settings), run_dir, Console(quiet=True), resume=True)

    before = digest_of_run(run_dir)
    assert in_child(second) == 0
    run_folder.let_go(run_dir)
    assert digest_of_run(run_dir) == before


def test_two_processes_that_start_at_once(
    undisturbed: Callable[[str], str], tmp_path: Path
) -> None:
    """One of them trains; the other is refused, or finds the run whole and has nothing to do."""
    wanted = undisturbed("one")
    for attempt in range(3):
        run_dir, go = tmp_path / f"run-{attempt}", tmp_path / f"go-{attempt}"

        def races(run_dir: Path = run_dir, go: Path = go) -> None:
            while not go.exists():
                pass
            with suppress(BlockingIOError, FileExistsError):
                train(SETTINGS, run_dir)

        both = [started(races), started(races)]
        go.touch()
        assert [os.waitpid(child, 0)[1] for child in both] == [0, 0]
        assert digest_of_run(run_dir) == wanted
        assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# A fit has no checkpoints on its way: it is repeated, and nothing is in its way.
FIT_MOMENTS: dict[str, tuple[Any, str, int]] = {
    "folder": (fitting, "make", 1),
    "replay": (Replay, "_append", 9),
    "update": (fitting.Fit, "update", 2),
    "digest": (manifest, "write", 1),
    "checkpoint": (checkpoint, "write_text", 1),
    "settings": (fitting, "save_config", 1),
}


@pytest.mark.parametrize("moment", FIT_MOMENTS)
def test_a_killed_fit_is_repeated(moment: str, tmp_path: Path) -> None:
    small = [word for word in SETTINGS if not word.startswith("agent.proposals")]
    config = resolve(TOY, [*small, *TRIPLES_ALONE])
    data = collect(config.env, 30)

    def fits(run_dir: Path) -> str:
        return digest_of_weights(fit(config, data, run_dir, 4, Console(quiet=True)))

    wanted = fits(tmp_path / "whole")
    run_dir = tmp_path / "run"

    def child() -> None:
        dies_at(*FIT_MOMENTS[moment])
        fits(run_dir)

    assert os.WTERMSIG(in_child(child)) == signal.SIGKILL
    if not run_folder.holds_run(run_dir):
        assert fits(run_dir) == wanted
    assert digest_of_weights(load(run_dir)) == wanted
