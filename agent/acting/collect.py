"""Episodes kept as data: of any actor, or without reward and aim.

Shapes: L decisions of an episode, D observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch

from worldplan.agent.acting.actors import Actor
from worldplan.agent.acting.agentless import NoiseActor, UniformActor
from worldplan.agent.acting.rollout import Reset, Step, rollout
from worldplan.agent.acting.spaces import action_space
from worldplan.agent.data.dataset import Episode
from worldplan.agent.data.replay import Replay
from worldplan.agent.data.seeds import training_seed
from worldplan.envs import EnvConfig, make_vector

Collector = Literal["noise", "random"]
_LONGEST = 1000  # decisions of an episode in an environment without a time limit


def store(replay: Replay, event: Reset | Step) -> None:
    """Puts what was played into a replay, one stream for each environment, all or nothing.

    Raises:
        OSError: the disk is full.
    """
    replay.reserve(1)
    if isinstance(event, Reset):
        for i in np.flatnonzero(event.mask).tolist():
            replay.begin(i, event.observation[i])
        return
    for i in np.flatnonzero(event.active).tolist():
        replay.add(
            i, event.action[i], event.reward[i], event.terminated[i], event.truncated[i],
            event.observation[i],
        )  # fmt: skip


def record(events: Iterable[Reset | Step]) -> Episode:
    """The one episode that is played in one environment. Where it is cut off, it is truncated."""
    observations, actions, rewards, ended = [], [], [], False
    for event in events:
        observations.append(event.observation[0])
        if isinstance(event, Step):
            actions.append(event.action[0])
            rewards.append(event.reward[0])
            ended = bool(event.terminated[0])
    return Episode(
        np.stack(observations), np.stack(actions), np.asarray(rewards, np.float32), ended, not ended
    )


def collect(
    env: EnvConfig,
    steps: int,
    actor: Collector = "noise",
    seed: int = 0,
    watch: Callable[[int], None] | None = None,
) -> list[Episode]:
    """Episodes of `steps` decisions in all, played without reward or aim; the last is cut there.

    `random` draws each action anew, `noise` is `NoiseActor`. Seeds are those of training, never
    held-out ones. `watch` is called with the number of decisions made so far.
    """
    world = make_vector(env, 1)
    generator = torch.Generator().manual_seed(seed)
    limit = world.max_episode_steps or _LONGEST
    actions = action_space(world.spec.action)
    who: Actor[Any] = NoiseActor(actions, limit) if actor == "noise" else UniformActor(actions)
    episodes: list[Episode] = []
    left = steps
    while left:
        events = rollout(who, world, [training_seed(seed, len(episodes))], generator)
        episodes.append(record(islice(events, 1 + min(limit, left))))
        left -= len(episodes[-1].action)
        if watch is not None:
            watch(steps - left)
    world.close()
    return episodes
