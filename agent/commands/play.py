"""Commands that play episodes: evaluate, rollout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldplan.agent.commands.terminal import (
    ActorOption,
    Overrides,
    Subject,
    actor_name,
    console,
    plainly,
    show_evaluation,
    subject,
    will_write,
)

Episodes = Annotated[int, typer.Option(min=1, help="number of held-out episodes")]


def evaluate(
    run: Subject,
    settings: Overrides = None,
    actor: ActorOption = "planner",
    episodes: Episodes = 20,
    out: Annotated[Path | None, typer.Option(help="write the summary to this JSON file")] = None,
) -> None:
    """Play held-out episodes without exploration and sum them up."""
    from worldplan.agent.data.seeds import held_out_seeds
    from worldplan.agent.evaluation.evaluate import evaluate as play
    from worldplan.agent.evaluation.statistics import summary
    from worldplan.agent.training.atomic import write_json
    from worldplan.envs import make_vector

    with plainly():
        who = actor_name(actor)
        will_write(out, ".json")
        agent, config = subject(run, settings, compiled=True)
        env = make_vector(config.env, episodes)
        with console.status("") as status:
            result = play(
                agent, env, held_out_seeds(episodes), who,
                watch=lambda step: status.update(f"{actor}, {episodes} episodes, step {step}"),
            )  # fmt: skip
        env.close()
        sums = summary(result.returns, result.seeds)
        show_evaluation(result, sums)
        if out is not None:
            write_json(out, {"task": config.task, "actor": actor, **sums})
            console.print(f"written to {out}")


def rollout(
    run: Subject,
    settings: Overrides = None,
    actor: ActorOption = "planner",
    episodes: Episodes = 1,
    video: Annotated[Path | None, typer.Option(help="film the episodes to this MP4")] = None,
    dataset: Annotated[Path | None, typer.Option(help="write the transitions to this .npz")] = None,
) -> None:
    """Play held-out episodes; film them, or write their transitions."""
    from worldplan.agent.data.dataset import write_dataset
    from worldplan.agent.data.seeds import held_out_seeds
    from worldplan.agent.evaluation.film import film_episode, prepare_rendering

    with plainly():
        who = actor_name(actor)
        if video is None and dataset is None:
            raise ValueError("expected --video FILE.mp4, --dataset FILE.npz, or both")
        will_write(video, ".mp4")
        will_write(dataset, ".npz")
        if video is not None:
            prepare_rendering()
        agent, config = subject(run, settings)
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
