"""A world model trained from a data set of (x, a, x') alone: no reward, no acting.

Shapes: D observation, A action.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from worldplan.agent.agent import Agent
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.dataset import Episode
from worldplan.agent.data.replay import Replay
from worldplan.agent.evaluation.diagnostics import collapse_warning, diagnose
from worldplan.agent.learning.compiling import resolve
from worldplan.agent.training import checkpoint
from worldplan.agent.training.curve import Curve
from worldplan.agent.training.restore import config_json, save_config, weights
from worldplan.envs import EnvConfig, make_env

TRIPLES_ALONE = ("learner.task_heads=false", "agent.proposals=0")  # settings of every fit


def fit(
    config: RunConfig, episodes: list[Episode], run_dir: Path, updates: int, console: Console
) -> Agent:
    """Trains Enc and Pred on episodes, and leaves a checkpoint that `load` takes.

    The agent has learned no reward: it plans after `Agent.aim` or `Agent.minimise`.
    Diagnostics go to `fit.csv` in run_dir, ten times.

    Raises:
        ValueError: observations or actions of other sizes than the task's, or not finite.
    """
    sizes = _sizes(config.env, episodes)
    assert not config.agent.learner.task_heads
    if config.threads:
        torch.set_num_threads(config.threads)
    execution, note = resolve(config.compile, config.update_precision, config.plan_precision)
    console.print(note)
    torch.manual_seed(config.seed)
    agent = Agent(config.agent, *sizes, execution)
    replay = _remember(episodes, run_dir / "replay", *sizes)
    agent.learner.model.normaliser.update(
        torch.from_numpy(np.concatenate([e.observation for e in episodes]))
    )
    rng, luck = np.random.default_rng(config.seed), torch.Generator().manual_seed(config.seed)
    curve = Curve(run_dir / "fit.csv")
    c, past = config.agent.learner, agent.model.context - 1
    with Progress(console=console) as progress:
        for update in progress.track(range(updates), description="fitting"):
            metrics = agent.update(replay.sample(rng, c.batch, past, c.horizon), luck, update)
            if (update + 1) % max(1, updates // 10) and update + 1 < updates:
                continue
            # A stream of its own: looking does not change the fit.
            batch = replay.sample(np.random.default_rng(update), 512, past, 1)
            measures = diagnose(agent.model, batch, torch.Generator().manual_seed(update))
            row = {"step": update + 1, **{k: float(v) for k, v in metrics.items()}, **measures}
            curve.append(row)
            shown = "consistency", "effective_rank", "model_error", "action_sensitivity"
            console.print(f"{update + 1:>7,}: " + "  ".join(f"{k} {row[k]:.3g}" for k in shown))
    if warning := collapse_warning(measures, sizes[0]):
        console.print(f"[yellow]warning: {warning}[/yellow]")
    state = {
        "config": config_json(config), "observation_dim": sizes[0], "action_dim": sizes[1],
    }  # fmt: skip
    checkpoint.save(run_dir, updates, weights(agent), state)
    save_config(config, run_dir)
    return agent


def _sizes(env: EnvConfig, episodes: list[Episode]) -> tuple[int, int]:
    """D and A of the task and its data."""
    world = make_env(env)
    wanted = world.observation_space.shape, world.action_space.shape
    world.close()
    for e in episodes:
        if (e.observation.shape[1:], e.action.shape[1:]) != wanted:
            raise ValueError(
                f"{env.id} has observations of {wanted[0]} and actions of {wanted[1]}; the data "
                f"set has {e.observation.shape[1:]} and {e.action.shape[1:]}"
            )
    return episodes[0].observation.shape[1], episodes[0].action.shape[1]


def _remember(episodes: list[Episode], folder: Path, observation: int, action: int) -> Replay:
    capacity = sum(len(e.observation) for e in episodes)
    replay = Replay(folder, 1, observation, action, capacity, slack=0)
    for e in episodes:
        replay.begin(0, e.observation[0])
        for i, a in enumerate(e.action):
            last = i + 1 == len(e.action)
            replay.add(0, a, 0.0, last and e.terminated, last, e.observation[i + 1])
    return replay
