"""What `worldplan imagine` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from worldplan.agent.agent import Agent
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.film import prepare_rendering
from worldplan.agent.experiments.imagine import show as imagined_show
from worldplan.agent.experiments.imagine.imagined import (
    Comparison,
    Futures,
    Reading,
    compare,
    learn_to_read,
    play,
    pose_code,
)
from worldplan.envs import EnvConfig, make_env
from worldplan.envs.physics import physics_of
from worldplan.envs.rendering.ghosts import GhostRenderer


@dataclass(frozen=True)
class Request:
    """What is to be imagined."""

    horizon: int  # decisions
    samples: int | None  # ghosts; None: 5, or 1 without z
    seed: int  # number of the held-out episode
    start: int  # decision from which to imagine
    actor: str
    passive: bool  # no action is chosen from there on


@dataclass(frozen=True)
class Outputs:
    """Where the picture goes, and the film."""

    plot: Path
    film: Path
    film_wanted: bool  # else it is left out where it cannot be drawn


def show(
    agent: Agent,
    config: RunConfig,
    request: Request,
    outputs: Outputs,
    console: Console,
    say: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Imagines, draws the film and the picture, and says what came out.

    Args:
        say: is told what it is at, which may take minutes.

    Raises:
        ValueError: more samples than the model's z has futures, an episode that is over before
            `start`, or a film that was asked for and cannot be drawn.
    """
    r = request
    agent = agent.on_cpu()
    samples = _samples(agent, r.samples)
    without = no_renderer()
    if not agent.spec.observation.pictures:  # those can be drawn as they are
        without = without or _no_body(config.env)
    if without and outputs.film_wanted:
        raise ValueError(without)
    if without:
        console.print(f"no film: {without}")
    say("playing the real episode")
    world = make_env(config.env, render_mode=None if without else "rgb_array")
    passive_from = r.start if r.passive else None
    episode = held_out_seeds(1, r.seed)
    (played,) = play(agent, [world], episode, r.start + r.horizon, r.actor, passive_from)
    length = len(played.action)
    if r.start >= length:
        raise ValueError(
            f"the episode ended after {length} decisions; expected --start below that, "
            f"got {r.start}"
        )
    reading = learn_to_read(
        agent, config.env, r.actor,
        watch=lambda n: say(f"collecting what the probe learns from: {n} steps"),
    )  # fmt: skip
    say("imagining")
    code = pose_code(world)
    count = max(samples, Futures.count) if agent.model.noise_dim else 1
    futures = Futures(r.start, r.horizon, count, r.seed, r.passive)
    c = compare(agent, played, reading, code, futures)
    _say(console, c, reading)

    who = "without actions" if r.passive else f"under the {r.actor}'s actions"
    kind = config.agent.model.kind
    title = f"{config.task}, model {kind}: imagined beside what happened {who}"
    say("drawing")
    imagined_show.plot(c, outputs.plot, title)
    console.print(f"  plot   {outputs.plot}")
    if not without:
        fps = world.metadata["render_fps"]
        if agent.spec.observation.pictures:
            imagined_show.film(c, imagined_show.side_by_side(), outputs.film, samples, fps)
        else:
            renderer = GhostRenderer(world, c.position[0])
            imagined_show.film(c, imagined_show.ghosts(renderer), outputs.film, samples, fps)
            renderer.close()
        console.print(f"  film   {outputs.film}")
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


def no_renderer(console: Console | None = None) -> str | None:
    """Why nothing can be drawn here, or None; then the console is told by which renderer."""
    try:
        chosen = prepare_rendering()
    except ValueError as error:
        return str(error)
    if console is not None:
        console.print(chosen)
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
