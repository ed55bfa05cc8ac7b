"""A search: asks for the settings of trials, gives them to a pool as jobs, tells what came of them.

It can be interrupted anywhere and be run again: finished trials are kept, others are resumed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldplan.agent.config.names import one_of
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import tasks
from worldplan.agent.evaluation.shown import shown
from worldplan.agent.experiments.pool.jobs import Job
from worldplan.agent.experiments.tune import trial as trials
from worldplan.agent.experiments.tune.objective import OBJECTIVES, PRUNERS
from worldplan.agent.experiments.tune.space import Searched, read_space
from worldplan.agent.experiments.tune.study import attached, cut_back, make_sampler, open_study
from worldplan.agent.experiments.tune.trial import OUTCOME, trial_dir
from worldplan.agent.training.disk import run_folder
from worldplan.agent.training.restore import same_config
from worldplan.agent.training.trained import save_config

if TYPE_CHECKING:
    import optuna

# Of all trials: none stops early, so that curves compare.
TRIALS_OWN = ("solved=null", "threads=1")


@dataclass(frozen=True)
class Plan:
    """What is searched over. Only `trials` may be another one when a search goes on."""

    base: Mapping[str, Any]  # what the task sets
    fixed: Sequence[str]  # `key=value` of all trials
    space: Sequence[Searched]
    trials: int
    objective: str
    pruner: str
    seed: int
    evaluations: int  # of a whole run

    @property
    def preset(self) -> bool:
        """Whether the task has a name here; else it is an environment's id."""
        return self.base["task"] in tasks()

    def identity(self) -> dict[str, Any]:
        """What makes it another search, as JSON."""
        space = {one.name: repr(one) for one in self.space}
        return {
            "task": self.base["task"], "fixed": sorted(self.fixed), "space": space,
            "objective": self.objective, "pruner": self.pruner, "evaluations": self.evaluations,
        }  # fmt: skip


def make_plan(
    base: Mapping[str, Any],
    words: Sequence[str],
    *,
    trials: int = 20,
    objective: str = "area",
    pruner: str = "median",
) -> Plan:
    """A plan of settings as they are written on the command line: see `space.py`.

    Raises:
        ValueError: as `read_space`; no such objective or pruner; a family that learns nothing.
    """
    one_of("objective", objective, OBJECTIVES)
    one_of("pruner", pruner, PRUNERS)
    config, fixed, space = read_space(base, words)
    if not config.agent.model.learns:
        raise ValueError(f"model.kind={config.agent.model.kind} learns nothing; expected another")
    evaluations = config.steps // config.eval_interval
    return Plan(base, fixed, space, trials, objective, pruner, config.seed, evaluations)


class Search:
    """A plan at work in a folder, held by this process: see `searching`."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan, self.out = plan, out
        cut_back(out)
        self.study = open_study(out)
        known = self.study.user_attrs.get("plan")
        if known is None:
            self.study.set_user_attr("plan", plan.identity())
        elif known != plan.identity():
            raise ValueError(
                f"{out} holds another search; repeat the command with the same settings, or choose "
                "another --out"
            )
        self.running: list[str] = []  # names, as the pool says

    def jobs(self) -> Iterator[Job]:
        """First what was interrupted, then new trials, up to the plan's number of them.

        A new one is asked for when it may start. None is, once one has failed.
        """
        self.tell()
        for one in self._open():
            yield from self._given(one.number)
        while True:
            self.tell()
            if len(self._open()) > len(self.running):
                return  # one failed; the same command tries it again
            number = len(self.study.get_trials(deepcopy=False))
            if number >= self.plan.trials:
                return
            self.study.sampler = make_sampler(self.plan.seed, number)
            asked_for = self.study.ask()
            assert asked_for.number == number, "no other process asks"
            yield from self._given(number)

    def _given(self, number: int) -> Iterator[Job]:
        if job := self._job(number):
            self.running = [*self.running, job.name]
            yield job

    def tell(self) -> None:
        """Writes outcomes of trials to the study."""
        import optuna

        for one in self._open():
            path = trial_dir(self.out, one.number) / OUTCOME
            if not path.exists():
                continue
            outcome = json.loads(path.read_text())
            if outcome["state"] == "complete":
                self.study.tell(one.number, outcome["value"])
            else:  # where it diverged is no place to look for more
                self.study.tell(one.number, state=optuna.trial.TrialState.PRUNED)

    def watch(self, done: int, running: list[str]) -> None:
        """For the pool."""
        self.running = running

    def progress(self) -> str:
        """What is done, what is best so far, and what runs."""
        states = [one.state.name for one in self.study.get_trials(deepcopy=False)]
        done = sum(state != "RUNNING" for state in states)
        best = ""
        if "COMPLETE" in states:
            found = self.study.best_trial
            best = f"best {shown(found.values[0])}, of trial {found.number}; "
        return f"{done}/{self.plan.trials} done; {best}{', '.join(self.running)}"

    def _open(self) -> list[optuna.trial.FrozenTrial]:
        """Trials that were asked for and of which no outcome is known yet."""
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])

    def _job(self, number: int) -> Job | None:
        """What trains a trial; None if its settings do not go together."""
        import optuna

        self.study.sampler = make_sampler(self.plan.seed, number)
        trial = attached(self.study, number)
        # A trial that has values keeps them.
        words = [f"{one.name}={one.suggest(trial)}" for one in self.plan.space]
        run_dir = trial_dir(self.out, number)
        try:
            config = resolve(self.plan.base, [*TRIALS_OWN, *self.plan.fixed, *words])
        except ValueError as error:
            trial.set_user_attr("refused", str(error))
            self.study.tell(number, state=optuna.trial.TrialState.FAIL)
            return None
        if not same_config(config, run_dir):
            save_config(config, run_dir)
        command = (trials.__name__, str(self.out), str(number))
        done = (run_dir / OUTCOME).exists
        return Job(f"trial {number}", lambda: command, run_dir / "log.txt", done)


@contextmanager
def searching(plan: Plan, out: Path) -> Iterator[Search]:
    """A search in a folder, from which other processes are kept.

    Raises:
        ValueError: the folder holds another search; Optuna is not installed.
        BlockingIOError: another process searches there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with run_folder.held(out):
        search = Search(plan, out)
        try:
            yield search
        finally:
            search.tell()
