"""Commands for models that are trained from triples (x, a, x') alone: collect, fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from worldplan.agent.commands.terminal import Overrides, at_work, console, new_run_dir, will_write
from worldplan.agent.config.names import one_of


def collect(
    task: Annotated[str, typer.Argument(help="a preset (see `worldplan tasks`)")],
    overrides: Overrides = None,
    steps: Annotated[
        int, typer.Option(min=1, max=10**9, help="decisions in all episodes together")
    ] = 20_000,
    out: Annotated[Path, typer.Option(help="the .npz to write")] = Path("transitions.npz"),
    actor: Annotated[str, typer.Option(help="noise (pink) or random (uniform)")] = "noise",
) -> None:
    """Collect transitions for `worldplan fit`, with an actor that follows no reward or goal."""
    from worldplan.agent.acting.collect import Collector
    from worldplan.agent.acting.collect import collect as play
    from worldplan.agent.config.overrides import resolve
    from worldplan.agent.config.presets import load_preset
    from worldplan.agent.data.dataset import write_dataset

    config = resolve(load_preset(task), overrides or [])
    will_write(out, ".npz")
    one_of("collector", actor, get_args(Collector))
    who: Any = actor
    with at_work() as say:
        episodes = play(
            config.env, steps, who, config.seed,
            watch=lambda step: say(f"{task}, {step:,} of {steps:,} decisions"),
        )  # fmt: skip
    count = write_dataset(out, episodes)
    console.print(f"{count:,} transitions of {len(episodes):,} episodes written to {out}")


def fit(
    task: Annotated[str, typer.Argument(help="a preset (see `worldplan tasks`)")],
    dataset: Annotated[str, typer.Argument(help=".npz of `collect` or `rollout`, or minari:ID")],
    overrides: Overrides = None,
    updates: Annotated[int, typer.Option(min=1, max=10**9, help="gradient updates")] = 3000,
) -> None:
    """Train Enc and Pred from the triples (x, a, x') of a data set, without rewards or acting."""
    from worldplan.agent.config.overrides import resolve
    from worldplan.agent.config.presets import load_preset
    from worldplan.agent.data.dataset import read_dataset
    from worldplan.agent.data.minari import read_minari
    from worldplan.agent.training.fit import TRIPLES_ALONE
    from worldplan.agent.training.fit import fit as train_model

    config = resolve(load_preset(task), [*(overrides or []), *TRIPLES_ALONE])
    run_dir = new_run_dir(config)
    source, _, name = dataset.partition(":")
    episodes = read_minari(name) if source == "minari" else read_dataset(Path(dataset))
    console.headed(task, f"  {dataset}  seed {config.seed}  -> {run_dir}")
    train_model(config, episodes, run_dir, updates, console)
    console.print(f"diagnostics: {run_dir / 'fit.csv'}; next: worldplan evaluate {run_dir}")
