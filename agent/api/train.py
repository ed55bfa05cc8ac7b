"""`worldplan.train`: the command of this name, from Python."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from worldplan.agent.api import run
from worldplan.agent.api.start import beginning
from worldplan.agent.api.terminal import Terminal
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import of_task
from worldplan.agent.training.events import Listener, Run
from worldplan.agent.training.listeners.callbacks import as_listeners
from worldplan.agent.training.restore import load
from worldplan.agent.training.signals import is_interactive
from worldplan.agent.training.trained import TrainedAgent
from worldplan.envs import given_env, is_given

_OWN = "callbacks", "resume", "trust", "quiet"  # arguments that are no settings


def train(
    task: object = None,
    *,
    callbacks: Iterable[object] | object = (),
    resume: str | Path | None = None,
    trust: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> TrainedAgent:
    """Trains an agent, as the command `worldplan train` does, and returns it.

        agent = worldplan.train("inverted-pendulum", steps=5000, planner={"horizon": 5})
        agent = worldplan.train(lambda: MyEnv(), steps=5000, callbacks=[print])

    An interrupted run is saved. In a notebook, or at a prompt, its agent is returned, and a second
    interrupt ends it without saving; in a script KeyboardInterrupt is raised.

    Args:
        task: a preset, a Gymnasium id, an environment that Gymnasium made, or a function that makes
            one: several are made, to collect and to evaluate. The run of a function can be resumed
            by giving it again, and not by the command. None with `start_from=RUN`: that run's.
        callbacks: one or several, each a `Listener`, an object with some of its methods, or a
            function of an `EvaluationEvent`. Where one returns False, the run ends after that step.
        resume: a run folder to go on with, with its own settings, but for more `steps` if given.
        trust: for `resume`: makes the run's environment, whatever module it imports.
        quiet: prints nothing.
        settings: those of the command, as `steps=5000`, `planner={"horizon": 5}` or
            `**{"planner.horizon": 5}`.

    Raises:
        ValueError: an unknown setting (the nearest one is named), or a value or an environment
            with which it could not train.
        FileExistsError: the folder `run_dir` holds a run.
        KeyboardInterrupt: in a script, SIGINT, SIGTERM or SIGHUP was received.
    """
    if task is None and resume is None and "start_from" not in settings:
        raise ValueError("expected a preset, a Gymnasium id or an environment first, got no task")
    for name in settings:
        if near := difflib.get_close_matches(name, _OWN, n=1, cutoff=0.75):
            raise ValueError(f"unknown argument {name!r}. Did you mean {near[0]!r}?")
    console, started = Terminal(soft_wrap=True, quiet=quiet), _Started()
    listeners = [started, *as_listeners(callbacks)]
    try:
        if resume is None:
            start = settings.pop("start_from", None)
            if start is None:
                base = of_task(task)
            else:
                base = beginning(Path(start), None if task is None else of_task(task), trust)
            run.begin(resolve(base, settings=settings), console, listeners)
        else:
            _give_again(task, Path(resume))
            run.go_on(Path(resume), console, listeners, settings=settings, trust=trust)
    except KeyboardInterrupt as error:
        if not is_interactive() or started.run_dir is None:
            raise
        console.print("; ".join(["stopped", *getattr(error, "__notes__", ())]))
    assert started.run_dir is not None, "it ran"
    return load(started.run_dir)


class _Started(Listener):
    """Notes where the run is, once it is there."""

    returns_soon = True
    run_dir: Path | None = None

    def on_start(self, run: Run) -> None:
        self.run_dir = run.run_dir


def _give_again(task: object, run_dir: Path) -> None:
    """Makes known the environment of a run that is to be resumed, if it was an object or function.

    Raises:
        ValueError: the task is another one than the run's.
    """
    if task is None:
        return
    env = run.run_config(run_dir).env
    if is_given(env.id) and not isinstance(task, str):
        given_env(task, env.id)
    elif of_task(task)["env"]["id"] != env.id:
        raise ValueError(
            f"{run_dir} was made in {env.id!r}; expected that or nothing, got {task!r}"
        )
