"""Commands for agents that learn from data: collect, fit."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer

from worldplan.agent.api.terminal import new_run_dir
from worldplan.agent.commands.terminal import (
    EnvOption,
    Task,
    console,
    data_writer,
    task_names,
    task_settings,
)
from worldplan.agent.config.names import one_of

_COLLECT_READS = ("env", "seed")  # of the settings; no agent acts
_FIT_HAS_INSTEAD = {
    "steps": "it counts gradient updates, --updates N",
    "data": "the data set stands after the task",
    "start_from": "it begins with new weights",
}


def collect(
    task: Task = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="settings: seed=3 env.frame_stack=2 ...", metavar="[KEY=VALUE]"),
    ] = None,
    env: EnvOption = None,
    steps: Annotated[
        int, typer.Option(min=1, max=10**9, help="decisions in all episodes together")
    ] = 20_000,
    out: Annotated[str, typer.Option(help="the .npz to write, or minari:ID")] = "transitions.npz",
    actor: Annotated[str, typer.Option(help="noise (pink) or random (uniform)")] = "noise",
) -> None:
    """Collect transitions for `worldplan fit`, with an actor that follows no reward or goal."""
    from worldplan.agent.acting.collect import Collector
    from worldplan.agent.acting.collect import collect as play
    from worldplan.agent.config.overrides import resolve

    base, settings = task_settings(task, env, overrides)
    config = resolve(base, settings)
    for setting, key in _keys(settings):
        if key == "steps":
            raise ValueError(f"collect takes the number of decisions as --steps N, got {setting}")
        if key not in _COLLECT_READS:
            raise ValueError(
                f"collect takes seed=N and settings of env; {setting} would change nothing"
            )
    one_of("collector", actor, get_args(Collector))
    write = data_writer(out, config.env, actor)
    who: Any = actor
    with console.at_work() as say:
        episodes = play(
            config.env, steps, who, config.seed,
            watch=lambda step: say(f"{config.task}, {step:,} of {steps:,} decisions"),
        )  # fmt: skip
    count = write(episodes)
    console.print(f"{count:,} transitions of {len(episodes):,} episodes written to {out}")


def fit(
    words: Annotated[
        list[str],
        typer.Argument(
            help="a preset, unless there is --env; a data set: .npz of `collect` or `rollout`, or "
            "minari:ID, lerobot:FOLDER or lerobot:USER/NAME; settings: learner.horizon=5 ...",
            metavar="[TASK] DATASET [KEY=VALUE]...",
            autocompletion=task_names,
        ),
    ],
    env: EnvOption = None,
    updates: Annotated[int, typer.Option(min=1, max=10**9, help="gradient updates")] = 3000,
    rewards: Annotated[
        bool, typer.Option("--rewards", help="learn reward, value and policy too")
    ] = False,
) -> None:
    """Train Enc and Pred from the triples (x, a, x') of a data set, without acting."""
    from worldplan.agent.config.overrides import resolve
    from worldplan.agent.training.offline.fit import TRIPLES_ALONE
    from worldplan.agent.training.offline.fit import fit as train_model
    from worldplan.agent.training.offline.recorded import read_data, task_spec
    from worldplan.envs import make_vector

    task = words.pop(0) if env is None else None
    if not words or (task is not None and "=" in task):
        raise ValueError(
            "expected TASK DATASET [KEY=VALUE]..., or --env ID DATASET [KEY=VALUE]..., got "
            + " ".join([*([] if task is None else [task]), *words])
        )
    dataset, *settings = words
    base, settings = task_settings(task, env, settings)
    for setting, key in _keys(settings):
        if key in _FIT_HAS_INSTEAD:
            raise ValueError(f"fit does not take {setting}: {_FIT_HAS_INSTEAD[key]}")
    config = resolve(base, settings if rewards else [*settings, *TRIPLES_ALONE])
    episodes, recorded = read_data(dataset, task_spec(config.env).action)
    if rewards and not any(e.reward.any() for e in episodes):
        raise ValueError(f"--rewards: {dataset} has none, or only zeros; expected others")
    with new_run_dir(config) as run_dir:
        console.headed(config.task, f"  {dataset}  seed {config.seed}  -> {run_dir}")
        train_model(config, episodes, run_dir, updates, console, recorded)
    world = make_vector(config.env, 1)
    world.reset([0])
    # Without rewards there is something to act for only where the task sets a goal.
    plans = f"worldplan evaluate {run_dir}"
    if not rewards and world.goals() is None:
        plans = f"agent = worldplan.load({str(run_dir)!r}); agent.aim(OBSERVATION) in Python"
    world.close()
    console.print(f"diagnostics: {run_dir / 'fit.csv'}; next: {plans}")


def _keys(settings: list[str]) -> list[tuple[str, str]]:
    """Each `key=value`, and the first part of its key."""
    return [(word, word.partition("=")[0].partition(".")[0].strip()) for word in settings]
