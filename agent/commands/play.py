"""Commands that play held-out episodes: evaluate, rollout."""

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
    data_writer,
    subject,
    will_write,
)
from worldplan.agent.evaluation.shown import shown

Episodes = Annotated[int, typer.Option(min=1, max=1024, help="number of held-out episodes")]


def evaluate(
    run: Subject,
    settings: Acting = None,
    actor: ActorOption = "planner",
    trust: TrustOption = False,
    env: EnvAgain = None,
    episodes: Episodes = 20,
    out: Annotated[Path | None, typer.Option(help="write the summary to this JSON file")] = None,
) -> None:
    """Play held-out episodes without exploration; print mean return and 95% interval."""
    from worldplan.agent.config import memory
    from worldplan.agent.data.atomic import write_json
    from worldplan.agent.data.seeds import held_out_seeds
    from worldplan.agent.evaluation.evaluate import NO_LIMIT
    from worldplan.agent.evaluation.evaluate import evaluate as play
    from worldplan.agent.training.compiled.playing import compile_to_play
    from worldplan.envs import make_vector

    who = actor_name(actor)
    will_write(out, ".json")
    agent, config = subject(run, settings, trust=trust, env=env)
    memory.require(config, agent.spec, agent.device, plans=episodes)
    world = make_vector(config.env, episodes)
    longest = config.eval_max_steps or world.max_episode_steps or NO_LIMIT
    if who == "planner" and compile_to_play(agent, config.compile, episodes * longest):
        console.print("compiles first: minutes, or seconds if done before")
    with console.at_work() as say:
        result = play(
            agent, world, held_out_seeds(episodes), who,
            watch=lambda step: say(f"{actor}, {episodes} episodes, step {step}"),
            longest=longest,
        )  # fmt: skip
    world.close()
    sums = result.summary()
    console.evaluation(result, sums)
    if out is not None:
        given = {"settings": settings} if settings else {}
        write_json(out, {"task": config.task, "actor": actor, **given, **sums})
        console.print(f"written to {out}")


def rollout(
    run: Subject,
    settings: Acting = None,
    actor: ActorOption = "planner",
    trust: TrustOption = False,
    env: EnvAgain = None,
    episodes: Episodes = 1,
    video: Annotated[Path | None, typer.Option(help="film the episodes to this MP4")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="write the transitions to this .npz, or as minari:ID")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(help="write what each plan predicts to this .csv")
    ] = None,
) -> None:
    """Play held-out episodes; film them, write their transitions, or explain their plans.

    --explain writes a row for each decision, with these columns:

    \b
    episode, step        numbers from 0
    reward               the reward after the decision
    predicted_return     of the plan: all score_K + terminal_value + risk
    score_K              predicted reward K steps ahead, discounted, mean over z;
                         where the task sets a goal: minus the squared distance
    terminal_value       predicted value after the horizon, discounted, mean over z
    risk                 what the risk measure adds to the mean over z
    spread               standard deviation of the score over z
    search_best_K        best score in iteration K of the search
    search_elite_mean_K  mean score of its elites
    search_std_K         mean standard deviation of actions fitted to them
    """
    from worldplan.agent.acting.rollout import Step
    from worldplan.agent.data.seeds import held_out_seeds
    from worldplan.agent.evaluation.explain import explanation
    from worldplan.agent.evaluation.film import film_episode, prepare_rendering
    from worldplan.agent.training.curve import Curve

    who = actor_name(actor)
    if video is None and dataset is None and explain is None:
        raise ValueError(
            "expected --video FILE.mp4, --dataset FILE.npz (or minari:ID) or --explain FILE.csv, "
            "or several"
        )
    if explain is not None and who != "planner":
        raise ValueError(
            f"--explain needs plans, and actor {who} makes none; expected --actor planner"
        )
    will_write(video, ".mp4")
    will_write(explain, ".csv")
    if video is not None:
        console.print(prepare_rendering())
    agent, config = subject(run, settings, trust=trust, env=env)
    write = data_writer(dataset, config.env, who) if dataset is not None else None
    acting = agent.actor(who, explain=explain is not None)
    table = Curve(explain) if explain is not None else None
    played = []
    for i, seed in enumerate(held_out_seeds(episodes)):
        film = video
        if video is not None and episodes > 1:
            film = video.with_stem(f"{video.stem}-{i}")
        steps: list[Step] = []
        longest = config.eval_max_steps
        played.append(
            film_episode(agent, config.env, seed, film, acting, steps.append, longest=longest)
        )
        length, total = len(steps), played[-1].reward.sum()
        console.print(f"episode {i}: return {shown(total)} in {length} steps  {film or ''}")
        if table is None:
            continue
        for t, step in enumerate(steps):
            row = {"episode": i, "step": t, "reward": float(step.reward[0])}
            table.append(row | explanation(step.plan, config.agent.planner.iterations))
    if write is not None:
        console.print(f"{write(played):,} transitions written to {dataset}")
    if explain is not None:
        count = sum(len(episode.reward) for episode in played)
        console.print(f"{count:,} plans explained in {explain}")
