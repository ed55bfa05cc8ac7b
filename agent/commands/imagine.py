"""The command that draws what a model imagines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldplan.agent.commands.terminal import (
    Acting,
    ActorOption,
    EnvAgain,
    Subject,
    TrustOption,
    actor_name,
    console,
    subject,
    will_write,
)


def imagine(
    run: Subject,
    settings: Acting = None,
    horizon: Annotated[int, typer.Option(min=1, max=10_000, help="decisions to imagine")] = 50,
    samples: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="ghosts, each with its own z; default 5, or 1"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=10**9, help="number of the held-out episode")] = 0,
    start: Annotated[
        int, typer.Option(min=0, max=10**6, help="decision from which to imagine")
    ] = 0,
    actor: ActorOption = "planner",
    trust: TrustOption = False,
    env: EnvAgain = None,
    passive: Annotated[
        bool, typer.Option("--passive", help="choose no actions from there on: only watch")
    ] = False,
    video: Annotated[Path | None, typer.Option(help="default: imagine.mp4 in the run")] = None,
    plot: Annotated[Path | None, typer.Option(help="default: imagine.png in the run")] = None,
) -> None:
    """Imagine from a real state, beside what really happens under the same actions."""
    from worldplan.agent.experiments.imagine.run import Outputs, Request, no_renderer, show
    from worldplan.agent.training import checkpoint

    will_write(video, ".mp4")
    will_write(plot, ".png")
    who = actor_name(actor)
    no_renderer(console)  # looks for one before an environment is made, and says which
    agent, config = subject(run, settings, trust=trust, env=env)
    folder = checkpoint.find(Path(run)).absolute().parents[1] if Path(run).exists() else Path()
    request = Request(horizon, samples, seed, start, who, passive)
    outputs = Outputs(
        plot or folder / "imagine.png", video or folder / "imagine.mp4", video is not None
    )
    with console.at_work() as say:
        show(agent, config, request, outputs, console, say)
