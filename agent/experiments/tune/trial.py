"""One trial of a search, in a process of its own: a training run that may be ended on its way.

    python -m worldplan.agent.experiments.tune.trial OUT NUMBER

The folder of the trial in OUT holds the run's config.yaml. An earlier attempt in it is resumed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from worldplan.agent.config.saved import read_yaml
from worldplan.agent.data.atomic import write_json
from worldplan.agent.experiments.tune.objective import OBJECTIVES
from worldplan.agent.experiments.tune.study import attached, open_study
from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.disk.run_folder import holds_run
from worldplan.agent.training.events import EvaluationEvent, Listener, Run
from worldplan.agent.training.trainer import Trainer

if TYPE_CHECKING:
    import optuna

OUTCOME = "outcome.json"  # is there once the trial is done


class Pruned(Exception):
    """The trial is not worth going on with."""


class Reporting(Listener):
    """Reports each evaluation to the study, which may end the trial.

    Raises:
        Pruned: from `on_evaluation`.
    """

    returns_soon = True  # so that a signal leaves no half of a report

    def __init__(self, trial: optuna.Trial, objective: str) -> None:
        self.trial, self.objective = trial, OBJECTIVES[objective]
        self.known = set(trial.study.trials[trial.number].intermediate_values)

    def on_start(self, run: Run) -> None:
        self.run = run

    def on_evaluation(self, event: EvaluationEvent) -> None:
        number = event.step // self.run.config.eval_interval
        if number not in self.known:  # a resumed run evaluates again what it had reported
            self.trial.report(self.objective(returns(self.run.run_dir)), number)
        if self.trial.should_prune():
            raise Pruned


def returns(run_dir: Path) -> list[float]:
    """Mean returns of the evaluations of a run so far."""
    return [row["return"] for row in read_curve(run_dir / "curve.csv")]


def trial_dir(out: Path, number: int) -> Path:
    """The folder of a trial's run."""
    return out / "trials" / f"{number:04}"


def run_trial(out: Path, number: int) -> None:
    """Trains to the end, unless that is done, and writes `outcome.json`."""
    run_dir, study = trial_dir(out, number), open_study(out)
    objective = study.user_attrs["plan"]["objective"]
    config = read_yaml(run_dir / "config.yaml")
    torch.set_num_threads(config.threads or torch.get_num_threads())
    reporting = Reporting(attached(study, number), objective)
    console = Console(width=120)
    try:
        if not (run_dir / "result.json").exists():
            resume = holds_run(run_dir)
            Trainer(config, run_dir, console, resume=resume, listeners=[reporting]).run()
        outcome = {"state": "complete", "value": OBJECTIVES[objective](returns(run_dir))}
    except Pruned:
        outcome = {"state": "pruned"}
    except FloatingPointError as error:  # it would diverge again
        console.print(str(error))
        outcome = {"state": "diverged"}
    write_json(run_dir / OUTCOME, outcome)


if __name__ == "__main__":
    try:
        run_trial(Path(sys.argv[1]), int(sys.argv[2]))
    except KeyboardInterrupt:  # its state is saved; a later attempt resumes
        sys.exit(130)
