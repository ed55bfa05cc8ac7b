"""Damaged runs and data sets: equal to undamaged, or a former checkpoint, or one line.

A tiny run is trained once. Each input is a copy of it, or of a data set, with one damage; it is
given to the commands and to `load`. `pytest -m slow tests/attack -s` tries hundreds.
"""

import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.helpers.attack import damage
from tests.helpers.attack.digests import digest_of_run, digest_of_weights
from tests.helpers.commands import run as command
from tests.helpers.settings import SMALL
from worldplan.agent.commands.main import app
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.texts import one_line
from worldplan.agent.training.events import EpisodeEvent, Listener
from worldplan.agent.training.restore import load
from worldplan.agent.training.trainer import Trainer

ENV = "toy_envs:ToyPoint-v0"
TOY = {"task": "toy", "env": {"id": ENV, "kwargs": {"limit": 5}}}
SETTINGS = [*SMALL, "seed_steps=8", "steps=30", "eval_interval=15", "checkpoint_interval=10",
            "eval_episodes=1", "final_episodes=1", "learner.batch_size=8"]  # fmt: skip
FIT = [*SMALL[:5], *SMALL[7:9], "learner.batch_size=8", "compile=off", "threads=1"]


class Hang(BaseException):
    """It took too long."""


class Stops(Listener):
    """Between episodes: a signal truncates the one it meets, which an undisturbed run ends."""

    def on_episode(self, event: EpisodeEvent) -> None:
        if event.step > 22:
            raise KeyboardInterrupt


@contextmanager
def limited(seconds: float = 30) -> Iterator[None]:
    def rings(*_: object) -> None:
        raise Hang

    former = signal.signal(signal.SIGALRM, rings)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


@dataclass(frozen=True)
class Outcome:
    """What came of an input: a digest of the result, or one line; or how it broke a promise."""

    result: str = ""
    said: str = ""
    warned: str = ""
    broken: str = ""


def attempt(act: Callable[[], str]) -> Outcome:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = said = broken = ""
        try:
            with limited():
                result = act()
        except (ValueError, OSError) as error:
            said = str(error)
        except Hang:
            broken = "hangs"
        except Exception as error:  # noqa: BLE001 (what is looked for)
            broken = f"{type(error).__name__}: {error}"
    if said.strip().count("\n") or len(said) > 2000:
        broken = f"more than one line: {said}"
    warned = "; ".join(str(w.message) for w in caught)
    return Outcome(result, said, warned, broken)


def told(*words: object) -> None:
    """Runs a command. Raises ValueError with the one line in which it ends."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exit_code == 0:
        return
    said = done.stderr.strip()
    if done.exit_code != 1 or not said.startswith("worldplan: ") or "--debug shows" in said:
        raise AssertionError(said or repr(done.exception))
    raise ValueError(said)


def loaded(run: Path) -> str:
    agent = load(run)
    x = np.linspace(-1, 1, 2, dtype=np.float32)
    return digest_of_weights(agent) + str(agent.act(x))


def evaluated(run: Path) -> str:
    told("evaluate", run, "--episodes", 1, "--trust", "--out", run / "out.json")
    return (run / "out.json").read_text()


def resumed(run: Path) -> str:
    told("train", "--resume", run, "--trust")
    return digest_of_run(run)


CONSUMERS = (loaded, evaluated, resumed)


@dataclass(frozen=True)
class Subject:
    run: Path
    other: Path
    whole: dict[str, str]  # results of the undamaged run, by consumer
    former: dict[str, str]  # and of its checkpoint before the newest
    data: Path
    fitted: str


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    home = tmp_path_factory.mktemp("subject")
    for name, seed in (("run", 0), ("other", 1)):
        settings = [*SETTINGS, f"seed={seed}"]
        trainer = Trainer(
            resolve(TOY, settings), home / name, Console(quiet=True), listeners=[Stops()]
        )
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        trainer.env.close()
    run = home / "run"
    results: list[dict[str, str]] = []
    for name in ("whole", "former"):
        found = {}
        for consumer in CONSUMERS:
            copy = shutil.copytree(run, home / name)
            if name == "former":
                shutil.rmtree(damage.newest(copy))
            outcome = attempt(lambda c=consumer, path=copy: c(path))  # type: ignore[misc]
            assert outcome.result, outcome
            found[consumer.__name__] = outcome.result
            shutil.rmtree(copy)
        results.append(found)
    assert results[0]["resumed"] == results[1]["resumed"], "resumes bit for bit"
    data = home / "data.npz"
    command("collect", "--env", ENV, "env.kwargs.limit=5", "--steps", 25, "--out", data)
    return Subject(run, home / "other", results[0], results[1], data, fitted(data, home / "fit"))


def fitted(data: Path, run_dir: Path) -> str:
    told("fit", "--env", ENV, data, "--updates", 2, *FIT, f"run_dir={run_dir}")
    return digest_of_weights(load(run_dir))


def kind(outcome: Outcome, whole: str, former: str, *, fits: bool) -> str:
    """Which promise was kept; raises AssertionError if none was."""
    assert not outcome.broken, outcome.broken
    if outcome.said:
        return "refused in one line"
    if outcome.result == whole and "taking step_" not in outcome.warned:
        return "equal to undamaged"
    if "taking step_" in outcome.warned and outcome.result in (former, whole):
        return "a former checkpoint, with a warning"
    if ".csv was changed" in outcome.warned:
        return "goes on, with a warning about the curve"
    assert fits, f"silently accepted; warned: {outcome.warned!r}"
    return "taken as written: another whole checkpoint"


def attack_run(
    subject: Subject, harm: damage.Damage, seed: int, at: int, home: Path, kept: Counter[str]
) -> str:
    """Why a promise was broken; empty if none was."""
    run = shutil.copytree(subject.run, home / "damaged")
    consumer = CONSUMERS[at % len(CONSUMERS)]
    name = consumer.__name__
    try:
        harm(run, subject.other, np.random.default_rng(seed))
        outcome = attempt(lambda: consumer(run))
        fits = harm in damage.FITTING
        kept[kind(outcome, subject.whole[name], subject.former[name], fits=fits)] += 1
    except AssertionError as error:
        return f"{harm.__name__}, seed {seed}, {name}: {one_line(error, 300)}"
    finally:
        shutil.rmtree(run)
    return ""


def attack_data(
    subject: Subject, harm: Callable[..., None], seed: int, home: Path, kept: Counter[str]
) -> str:
    data = home / "damaged.npz"
    shutil.copy(subject.data, data)
    try:
        harm(data, np.random.default_rng(seed))
        outcome = attempt(lambda: fitted(data, home / "fit"))
        kept[kind(outcome, subject.fitted, "", fits=False)] += 1
    except AssertionError as error:
        return f"{harm.__name__}, seed {seed}, fit: {one_line(error, 300)}"
    finally:
        shutil.rmtree(home / "fit", ignore_errors=True)
        if data.is_dir():
            data.rmdir()
        data.unlink(missing_ok=True)
    return ""


def campaign(
    subject: Subject, home: Path, runs: list[tuple[Any, int]], data: list[tuple[Any, int]]
) -> None:
    """Gives each damaged input to one consumer; prints the figures, and all that was broken."""
    kept: Counter[str] = Counter()
    failures = [attack_run(subject, h, s, i + s, home, kept) for i, (h, s) in enumerate(runs)]
    failures += [attack_data(subject, h, s, home, kept) for h, s in data]
    broken = [failure for failure in failures if failure]
    print(f"\n{len(runs) + len(data)} damaged inputs, {len(broken)} promises broken")
    for what, times in kept.most_common():
        print(f"{times:6} {what}")
    assert not broken, "\n".join(broken)


@pytest.fixture(autouse=True)
def _draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = "worldplan.agent.experiments.report.run_curve.plot_curve"
    monkeypatch.setattr(nothing, lambda run_dir: None)


def test_damaged_runs_and_data_sets(subject: Subject, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picked = rng.choice(len(damage.TO_RUNS), 24, replace=False)
    runs: list[tuple[Any, int]] = [(damage.TO_RUNS[i], 0) for i in picked.tolist()]
    runs += [(harm, seed) for harm in damage.FITTING for seed in range(3)]
    campaign(subject, tmp_path, runs, [(harm, 0) for harm in damage.TO_DATA])


@pytest.mark.slow
def test_damaged_runs_and_data_sets_long(subject: Subject, tmp_path: Path) -> None:
    runs: list[tuple[Any, int]] = [(h, s) for s in range(4) for h in damage.TO_RUNS]
    runs += [(harm, seed) for harm in damage.FITTING for seed in range(90)]
    campaign(subject, tmp_path, runs, [(h, s) for s in range(8) for h in damage.TO_DATA])
