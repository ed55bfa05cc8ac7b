"""Commands that take an agent out of training: serve, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from worldplan.agent.commands.terminal import Acting, Subject, TrustOption, console, subject


def serve(
    run: Subject,
    settings: Acting = None,
    rate: Annotated[float, typer.Option(help="decisions a second")] = 50.0,
    host: Annotated[str, typer.Option(help="address to listen at")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 7447,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="default: until the client goes")
    ] = None,
    deadline_ms: Annotated[
        float | None, typer.Option(help="of the search; default: 0.6 of the period")
    ] = None,
    safe: Annotated[
        str | None,
        typer.Option(help="what is done without a plan: [0.1, 0] as the environment takes it"),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="end with the first client")] = False,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="decide in a third of the time, after a minute or more"),
    ] = False,
    trust: TrustOption = False,
) -> None:
    """Act at a fixed rate for a program that sends observations as lines of JSON over TCP.

    \b
    it writes     {"observation": [...], "reset": true}      reset where an episode begins
    it reads      {"action": [...], "outcome": "planned", "late": false, "ms": 4.1}

    One line is read at each beat of the clock. "outcome" is "unseen" where nothing came since the
    last beat, and "failed" where there was no plan: then the action is --safe, or the middle of its
    bounds.
    Whoever reaches the address can steer: other machines only after --host 0.0.0.0.
    """
    import socket
    from dataclasses import replace

    from worldplan.agent.deployment.fixed_rate import check_pace, ready, safe_action
    from worldplan.agent.deployment.serve import serve as serve_clients
    from worldplan.agent.learning.compiling import obstacle
    from worldplan.agent.training.compiled.switching import switch

    check_pace(rate, deadline_ms)
    agent, _ = subject(run, settings, trust=trust)
    given = safe_action(agent, None if safe is None else _parsed(safe))
    if compiled:
        if why_not := obstacle():
            raise ValueError(f"--compile cannot be done: {why_not}")
        console.print("compiling: a minute or more, or seconds if done before")
        switch(agent, replace(agent.execution, compiled=True))
    how = {"rate": rate, "seconds": seconds, "deadline_ms": deadline_ms, "safe": given}
    with ready(agent, rate, deadline_ms), socket.create_server((host, port)) as listener:
        at = listener.getsockname()
        console.print(f"{rate:g} decisions a second at {at[0]}:{at[1]}; Ctrl-C ends it")
        serve_clients(listener, agent, console.print, once=once, **how)


def _parsed(action: str) -> Any:
    """An action in JSON. Raises ValueError for anything else."""
    try:
        return json.loads(action)
    except ValueError as error:
        raise ValueError(f"expected --safe in JSON, such as [0.1, 0], got {action!r}") from error


def export(
    run: Subject,
    file: Annotated[Path, typer.Argument(help="FILE.pt2 (compiled) or FILE.onnx (the policy)")],
    actor: Annotated[
        str | None, typer.Option(help="planner or policy; default: planner, of ONNX policy")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="observations in each call")] = 1,
    settings: Acting = None,
) -> None:
    """Write what an agent does to one file that acts without worldplan, and check it."""
    agent, _ = subject(run, settings)
    console.print("exporting: a .pt2 file takes minutes")
    found = agent.export(file, actor, batch)
    console.print(f"written to {found}: its actions are those of the agent")
