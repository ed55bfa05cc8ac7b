"""Shared by the commands: arguments, output, and files to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from worldplan.agent.api.terminal import Terminal
from worldplan.agent.config.names import one_of

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="settings: steps=20000 seed=3 planner.horizon=5 ...", metavar="[KEY=VALUE]"
    ),
]


Acting = Annotated[
    list[str] | None,
    typer.Argument(
        help="of a run how it is to act: planner.samples=512 ...; of a task all settings",
        metavar="[KEY=VALUE]",
    ),
]

console = Terminal(soft_wrap=True)


def task_names(incomplete: str) -> list[str]:
    """Presets that begin so, to complete a command in the shell."""
    from worldplan.agent.config.presets import tasks

    return [name for name in tasks() if name.startswith(incomplete)]


Task = Annotated[
    str | None,
    typer.Argument(
        help="a preset (see `worldplan tasks`), unless there is --env", autocompletion=task_names
    ),
]
EnvOption = Annotated[
    str | None, typer.Option(help="any Gymnasium id, also module:EnvId, instead of a preset")
]


JobsOption = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="runs at a time; default: one a core", show_default=False),
]
OnOption = Annotated[
    str,
    typer.Option(
        help="where runs are made: local; ray, the cluster that RAY_ADDRESS names or one of the "
        "command's own; or ray://HOST:PORT (extra `ray`)"
    ),
]


def task_settings(
    task: str | None, env: str | None, settings: list[str] | None
) -> tuple[dict[str, Any], list[str]]:
    """What a preset, or the suite of --env, sets; and the user's settings.

    With --env the first word is a setting too.

    Raises:
        ValueError: neither or both are given, or no such preset.
    """
    from worldplan.agent.config.presets import load_preset, of_environment

    words = list(settings or [])
    if env is not None:
        if task is not None and "=" not in task:
            raise ValueError(f"expected a preset or --env ID, got both: {task!r} and {env!r}")
        return of_environment(env), [*([] if task is None else [task]), *words]
    if task is None:
        raise ValueError("expected a preset (see `worldplan tasks`) or --env ID")
    if "=" in task:
        raise ValueError(
            f"the task comes first: expected a preset (see `worldplan tasks`) or --env ID before "
            f"{task}"
        )
    return load_preset(task), words


def will_write(file: Path | None, ending: str) -> None:
    """Checks a file to be written, before the work for it begins; makes its folder.

    Raises:
        ValueError: its name has another ending, or it is a folder.
    """
    if file is None:
        return
    if file.suffix != ending or file.is_dir():
        raise ValueError(f"expected a file that ends in {ending}, got {str(file)!r}")
    file.parent.mkdir(parents=True, exist_ok=True)


def data_writer(name: str, env: Any, actor: str) -> Callable[[list[Any]], int]:
    """What writes episodes of an environment (an EnvConfig) as a data set, and counts transitions.

    Checks it before the work for it begins: a file that ends in .npz, or a new one of Minari's.

    Raises:
        ValueError: another name, or what Minari does not write.
    """
    from worldplan.agent.data.dataset import write_dataset
    from worldplan.agent.data.minari import check_new, write_minari
    from worldplan.envs import EnvironmentSpec, make_env

    world = make_env(env)
    world.close()  # its spaces and its spec are what is needed
    source, _, rest = name.partition(":")
    if source == "minari":
        check_new(rest, world)
        return lambda episodes: write_minari(rest, episodes, world, actor)
    will_write(Path(name), ".npz")
    return lambda episodes: write_dataset(Path(name), episodes, EnvironmentSpec.of(world))


Subject = Annotated[
    str,
    typer.Argument(
        help="run folder, or a checkpoint in it; or a preset, for a family that learns nothing: "
        "inverted-pendulum model.kind=simulator",
        metavar="RUN",
    ),
]
ActorOption = Annotated[str, typer.Option(help="planner, policy, random or zero")]


TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust", help="make the run's environment, whatever module it imports or file it names"
    ),
]
EnvAgain = Annotated[
    str | None,
    typer.Option(help="the run's own environment again: its module may be imported then"),
]


def subject(
    run: str,
    settings: list[str] | None,
    *,
    trust: bool = False,
    env: str | None = None,
) -> tuple[Any, Any]:
    """The agent that the argument RUN of a command means, and its configuration.

    Its environment may be made then: `trust` and `env` are as for `trust.require`.

    Raises:
        ValueError, FileNotFoundError: not a run, or a preset of a family that must be trained;
            an environment that is not trusted.
    """
    from worldplan.agent.config.overrides import resolve
    from worldplan.agent.config.presets import load_preset, tasks
    from worldplan.agent.training.restore import load_with_config, make_agent

    if run not in tasks() or Path(run).exists():
        return load_with_config(run, trust=trust, plays=True, env=env, overrides=settings or ())
    if env is not None:
        raise ValueError(f"{run} is a task and has its environment; expected no --env, got {env!r}")
    config = resolve(load_preset(run), settings or [])
    if config.agent.model.learns:
        raise ValueError(
            f"{run} is a task, and model.kind={config.agent.model.kind} must be trained for it; "
            f"expected the folder of a run, made by `worldplan train {run}`"
        )
    return make_agent(config), config


def actor_name(name: str) -> str:
    """Returns the name. Raises ValueError if no actor has it."""
    from worldplan.agent.acting.actors import ACTORS

    return one_of("actor", name, ACTORS)
