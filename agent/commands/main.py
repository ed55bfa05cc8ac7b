"""The command line: train, evaluate, rollout, imagine, tasks; the others in `cli_...` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

from worldplan.agent.commands.experiments import compare, report
from worldplan.agent.commands.offline import collect, fit
from worldplan.agent.commands.terminal import Overrides, console, unused, will_write
from worldplan.agent.commands.terminal import plainly as _plainly
from worldplan.agent.config.names import one_of
from worldplan.agent.config.presets import tasks as list_tasks
from worldplan.envs import EnvironmentFault

app = typer.Typer(
    help="Train an agent that plans in the world model it learns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

Run = Annotated[Path, typer.Argument(help="run folder, or a checkpoint within")]
ActorOption = Annotated[str, typer.Option(help="planner, policy or random")]
Episodes = Annotated[int, typer.Option(min=1, help="number of held-out episodes")]


def main() -> None:
    """Entry point of the `worldplan` command."""
    app()


@app.command()
def train(
    task: Annotated[
        str | None, typer.Argument(help="a preset (see `worldplan tasks`)", show_default=False)
    ] = None,
    overrides: Overrides = None,
    env: Annotated[
        str | None, typer.Option(help="any Gymnasium id instead of a preset; module:EnvId too")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="run folder to go on with, exactly where it was saved")
    ] = None,
) -> None:
    """Learn a task: act, learn and plan; then evaluate and say where everything is."""
    from worldplan.agent.config.overrides import resolve
    from worldplan.agent.config.presets import load_preset
    from worldplan.agent.config.run import RunConfig

    settings = list(overrides or [])
    with _plainly():
        if env and task is not None and "=" not in task:
            raise ValueError(f"expected a preset or --env ID, got both: {task!r} and {env!r}")
        if (env or resume) and task is not None:
            settings.insert(0, task)  # the first word is a setting then, not a preset
            task = None
        if resume is not None:
            if env or settings:
                raise ValueError(
                    "--resume goes on with the run's own settings; expected nothing beside it, "
                    f"got {env or ' '.join(settings)!r}"
                )
            if (resume / "state.json").is_file():
                raise ValueError(
                    f"expected the run {resume.parent.parent} to go on with, got a checkpoint of it"
                )
            config, run_dir = _saved_config(resume), resume
        else:
            if task is None and env is None:
                raise ValueError("expected a preset (see `worldplan tasks`) or --env ID")
            base: dict[str, Any] = load_preset(task) if task else {"task": env, "env": {"id": env}}
            config = resolve(base, settings)
            run_dir = unused(config)
        assert isinstance(config, RunConfig)
        _train(config, run_dir, resume=resume is not None)


def _train(config: Any, run_dir: Path, *, resume: bool) -> None:
    from worldplan.agent.evaluation.film import prepare_rendering
    from worldplan.agent.training.trainer import Trainer

    if config.video:
        prepare_rendering()
    console.print(f"[bold]{config.task}[/bold]  {config.env.id}  seed {config.seed}  -> {run_dir}")
    trainer = Trainer(config, run_dir, console, resume=resume)
    if trainer.env.max_episode_steps is None:
        console.print(
            f"{config.env.id} states no time limit: if an episode may never end by itself, set "
            "env.kwargs.max_episode_steps"
        )
    try:
        result = trainer.run()
    except KeyboardInterrupt:
        console.print(
            f"stopped and saved at step {trainer.step:,}; go on with: "
            f"worldplan train --resume {run_dir}"
        )
        raise typer.Exit(130) from None
    except (EnvironmentFault, FloatingPointError):
        console.print(
            f"the run is safe up to its last checkpoint; go on with: "
            f"worldplan train --resume {run_dir}"
        )
        raise
    from worldplan.agent.evaluation.statistics import summary
    from worldplan.agent.experiments.report.run_curve import plot_curve

    _show(result, summary(result.returns, result.seeds))
    plot_curve(run_dir)
    why = "solved" if trainer.stop == "solved" else "done"
    minutes = trainer.clock["total"] / 60
    console.print(f"{why} after {trainer.step:,} steps and {minutes:.1f} minutes")
    for name, path in (
        ("checkpoint", run_dir / "checkpoints"),
        ("learning curve", run_dir / "curve.png"),
        ("its figures", run_dir / "curve.csv"),
        ("result", run_dir / "result.json"),
    ):
        console.print(f"  {name:15} {path}")
    console.print(f"  {'TensorBoard':15} tensorboard --logdir {run_dir / 'logs'}")
    console.print(f"  {'film it':15} worldplan rollout {run_dir} --video out.mp4")


@app.command()
def evaluate(
    run: Run,
    actor: ActorOption = "planner",
    episodes: Episodes = 20,
    out: Annotated[Path | None, typer.Option(help="write the summary to this JSON file")] = None,
) -> None:
    """Play held-out episodes without exploration and sum them up."""
    from worldplan.agent.data.seeds import held_out_seeds
    from worldplan.agent.evaluation.evaluate import evaluate as play
    from worldplan.agent.evaluation.statistics import summary
    from worldplan.agent.training.atomic import write_json
    from worldplan.agent.training.restore import load_with_config
    from worldplan.envs import make_vector

    with _plainly():
        who = _actor(actor)
        will_write(out, ".json")
        agent, config = load_with_config(run, compiled=True)
        env = make_vector(config.env, episodes)
        with console.status("") as status:
            result = play(
                agent, env, held_out_seeds(episodes), who,
                watch=lambda step: status.update(f"{actor}, {episodes} episodes, step {step}"),
            )  # fmt: skip
        env.close()
        sums = summary(result.returns, result.seeds)
        _show(result, sums)
        if out is not None:
            write_json(out, {"task": config.task, "actor": actor, **sums})
            console.print(f"written to {out}")


@app.command()
def rollout(
    run: Run,
    actor: ActorOption = "planner",
    episodes: Episodes = 1,
    video: Annotated[Path | None, typer.Option(help="film the episodes to this MP4")] = None,
    dataset: Annotated[Path | None, typer.Option(help="write the transitions to this .npz")] = None,
) -> None:
    """Play held-out episodes; film them, or write their transitions."""
    from worldplan.agent.data.dataset import write_dataset
    from worldplan.agent.data.seeds import held_out_seeds
    from worldplan.agent.evaluation.film import film_episode, prepare_rendering
    from worldplan.agent.training.restore import load_with_config

    with _plainly():
        who = _actor(actor)
        if video is None and dataset is None:
            raise ValueError("expected --video FILE.mp4, --dataset FILE.npz, or both")
        will_write(video, ".mp4")
        will_write(dataset, ".npz")
        if video is not None:
            prepare_rendering()
        agent, config = load_with_config(run, compiled=False)
        played = []
        for i, seed in enumerate(held_out_seeds(episodes)):
            film = video
            if video is not None and episodes > 1:
                film = video.with_stem(f"{video.stem}-{i}")
            played.append(film_episode(agent, config.env, seed, film, who))
            length, total = len(played[-1].reward), played[-1].reward.sum()
            console.print(f"episode {i}: return {total:.1f} in {length} steps  {film or ''}")
        if dataset is not None:
            count = write_dataset(dataset, played)
            console.print(f"{count:,} transitions written to {dataset}")


@app.command()
def imagine(
    run: Run,
    horizon: Annotated[int, typer.Option(min=1, help="decisions to imagine")] = 50,
    samples: Annotated[
        int | None, typer.Option(min=1, help="ghosts, each with luck z of its own; default 5, or 1")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="number of the held-out episode")] = 0,
    start: Annotated[int, typer.Option(min=0, help="decision from which to imagine")] = 0,
    actor: ActorOption = "planner",
    passive: Annotated[
        bool, typer.Option("--passive", help="choose no actions from there on: only watch")
    ] = False,
    video: Annotated[Path | None, typer.Option(help="default: imagine.mp4 in the run")] = None,
    plot: Annotated[Path | None, typer.Option(help="default: imagine.png in the run")] = None,
) -> None:
    """Imagine from a real state, beside what really happens under the same actions."""
    from worldplan.agent.commands.imagine import show

    with _plainly():
        will_write(video, ".mp4")
        will_write(plot, ".png")
        show(
            run, console, horizon=horizon, samples=samples, seed=seed, start=start,
            actor=_actor(actor), passive=passive, video=video, plot=plot,
        )  # fmt: skip


@app.command()
def tasks() -> None:
    """List the presets and what they need."""
    for task in list_tasks().values():
        needs = f"   needs the extra {task.needs}" if task.needs else ""
        console.print(f"[bold]{task.name:26}[/bold]{task.steps:>7,} steps   {task.env_id}{needs}")
        console.print(f"    {task.description}")
    console.print("\nAn extra is installed by: pip install 'worldplan\\[EXTRA]'")
    console.print("Any other Gymnasium environment: worldplan train --env ID")


app.command()(collect)
app.command()(fit)
app.command()(compare)
app.command()(report)


def _saved_config(run_dir: Path) -> Any:
    """Of the run's latest checkpoint."""
    from worldplan.agent.config.run import RunConfig
    from worldplan.agent.training import checkpoint

    _, state = checkpoint.read(checkpoint.find(run_dir))
    return RunConfig.model_validate(state["config"])


def _actor(name: str) -> Any:
    from worldplan.agent.agent import Actor

    return one_of("actor", name, get_args(Actor))


def _show(result: Any, sums: dict[str, Any]) -> None:
    """The evaluation as a person reads it."""
    low, high = sums["ci95"]
    returns = " ".join(f"{r:.1f}" for r in result.returns)
    console.print(
        f"{result.actor}: mean return [bold]{sums['mean']:.1f}[/bold]  "
        f"(95% interval {low:.1f} to {high:.1f}, IQM {sums['iqm']:.1f}, std {sums['std']:.1f}, "
        f"{len(result.returns)} held-out episodes, {np.mean(result.lengths):.0f} steps each, "
        f"{1e3 * result.seconds / max(1, result.lengths.max()):.1f} ms a decision for all)"
    )
    console.print(f"returns: {returns}")
