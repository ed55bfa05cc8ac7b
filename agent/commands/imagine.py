"""What `worldplan imagine` does."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from worldplan.agent.agent import Actor, Agent
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.film import prepare_rendering
from worldplan.agent.experiments.imagine import show as imagined_show
from worldplan.agent.experiments.imagine.imagined import (
    FUTURES,
    Comparison,
    Reading,
    compare,
    learn_to_read,
    play,
    pose_code,
)
from worldplan.agent.training import checkpoint
from worldplan.agent.training.restore import load_with_config
from worldplan.envs import EnvConfig, make_env
from worldplan.envs.ghosts import GhostRenderer
from worldplan.envs.physics import physics_of


def show(
    run: Path,
    console: Console,
    *,
    horizon: int,
    samples: int | None,
    seed: int,
    start: int,
    actor: Actor,
    passive: bool,
    video: Path | None,
    plot: Path | None,
) -> Comparison:
    """Imagines, draws the film and the picture, and says what came out.

    Raises:
        ValueError: more samples than the model's z has futures, an episode that is over before
            `start`, or a film that was asked for and cannot be drawn.
    """
    without = _no_renderer()  # before a simulator makes an environment
    agent, config = load_with_config(run)
    samples = _samples(agent, samples)
    folder = checkpoint.find(run).absolute().parents[1]
    without = without or _no_body(config.env)
    if without and video is not None:
        raise ValueError(without)
    can_draw = without is None
    if without:
        console.print(f"no film: {without}")
    with console.status("playing the real episode") as status:
        world = make_env(config.env, render_mode="rgb_array" if can_draw else None)
        passive_from = start if passive else None
        episode = held_out_seeds(1, seed)
        (played,) = play(agent, [world], episode, start + horizon, actor, passive_from)
        length = len(played.action)
        if start >= length:
            raise ValueError(
                f"the episode ended after {length} decisions; expected --start below that, "
                f"got {start}"
            )
        reading = learn_to_read(
            agent, config.env, actor,
            watch=lambda n: status.update(f"collecting what the probe learns from: {n} steps"),
        )  # fmt: skip
    code = pose_code(world)
    futures = max(samples, FUTURES) if agent.model.noise_dim else 1
    c = compare(
        agent, played, start, reading, code,
        futures=futures, passive=passive, horizon=horizon, seed=seed,
    )  # fmt: skip
    _say(console, c, reading)

    picture = plot or folder / "imagine.png"
    who = "without actions" if passive else f"under the {actor}'s actions"
    kind = config.agent.model.kind
    imagined_show.plot(
        c, picture, f"{config.task}, model {kind}: imagined beside what happened {who}"
    )
    console.print(f"  plot   {picture}")
    if can_draw:
        video = video or folder / "imagine.mp4"
        renderer = GhostRenderer(world, c.position[0])
        imagined_show.film(c, renderer, video, samples, world.metadata["render_fps"])
        renderer.close()
        console.print(f"  film   {video}")
    world.close()
    return c


def _samples(agent: Agent, samples: int | None) -> int:
    if samples is None:
        return 5 if agent.model.noise_dim else 1
    if samples > 1 and not agent.model.noise_dim:
        raise ValueError(
            "this model has no z, so that all of its futures are the same one; expected "
            f"--samples 1, got {samples}"
        )
    return samples


def _no_renderer() -> str | None:
    """Why nothing can be drawn here, or None."""
    try:
        prepare_rendering()
    except ValueError as error:
        return str(error)
    return None


def _no_body(env: EnvConfig) -> str | None:
    """Why there is nothing to draw, or None."""
    world = make_env(env)
    found = physics_of(world)
    world.close()
    return None if found else f"{env.id} shows no MuJoCo model and data"


def _say(console: Console, c: Comparison, reading: Reading) -> None:
    steps = len(c.real) - 1
    if c.ended:
        console.print(f"the episode ended {steps} decisions after the start")
    error, own = c.observation_error(c.imagined).mean(1), c.embedding_error(c.h_imagined).mean(1)
    still = c.observation_error(c.real[:1].expand_as(c.real))
    console.print("error (1: guessing the mean)   observations  embeddings  if nothing changed")
    for t in sorted({t for t in (1, 3, 10, steps) if t <= steps}):
        console.print(f"  {t:3} decisions ahead {error[t]:22.3f} {own[t]:11.3f} {still[t]:19.3f}")
    if c.imagined.shape[1] > 1:
        covered = float(c.coverage()[1:].mean())
        console.print(f"between the 5% and 95% quantile of its futures: {covered:.0%} of what came")
    console.print(
        f"the probe explains {reading.probe.r2:.0%} of the variance of observations and pose"
    )
    if c.hidden:
        joints = ", ".join(c.hidden)
        console.print(f"drawn where they really are, for the model does not know: {joints}")
