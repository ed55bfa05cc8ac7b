"""Recorded episodes: read, and put where an agent learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from worldplan.agent.config.reading import reading
from worldplan.agent.data.columns import check_episode
from worldplan.agent.data.dataset import Episode, read_dataset, read_spec
from worldplan.agent.data.lerobot import read_lerobot
from worldplan.agent.data.minari import minari_spec, read_minari
from worldplan.agent.data.replay import Replay
from worldplan.agent.learning.learner import Learner
from worldplan.agent.training.hub import LEROBOT, local_data
from worldplan.envs import ActionSpec, EnvConfig, EnvironmentSpec, make_env


def read_data(name: str, actions: ActionSpec) -> tuple[list[Episode], EnvironmentSpec | None]:
    """Episodes, and what recorded them, if it is known.

    Args:
        name: an .npz of `collect` or `rollout`; minari:ID; lerobot:FOLDER, or lerobot:USER/NAME of
            the Hugging Face Hub.
        actions: of the task, for data sets that do not tell the bounds of theirs.

    Raises:
        ValueError: it is none, or cannot be learned from; the message says why.
        FileNotFoundError: no such file.
        OSError: the Hub cannot be reached.
    """
    if name.startswith(LEROBOT):
        return read_lerobot(local_data(name), actions), None
    source, _, rest = name.partition(":")
    if source == "minari":
        return read_minari(rest), minari_spec(rest)
    file = Path(name)
    with reading(file):
        return read_dataset(file), read_spec(file)


def task_spec(env: EnvConfig) -> EnvironmentSpec:
    """The spec of a task, whose environment is made for it and closed."""
    world = make_env(env)
    spec = EnvironmentSpec.of(world, env)
    world.close()
    return spec


def check_data(episodes: list[Episode], spec: EnvironmentSpec) -> None:
    """Raises ValueError if there is no episode, or one that does not fit the task."""
    wanted = spec.observation.shape, (spec.action.size,)
    if not episodes:
        raise ValueError("expected a data set with at least one episode, got none")
    for i, e in enumerate(episodes):
        if (e.observation.shape[1:], e.action.shape[1:]) != wanted:
            raise ValueError(
                f"{spec.id} has observations of {wanted[0]} and actions of {wanted[1]}; the data "
                f"set has {e.observation.shape[1:]} and {e.action.shape[1:]}"
            )
        name = f"episode {i} of the data set"
        check_episode(name, e.observation, e.action, e.reward, spec.action)


def fill(replay: Replay, learner: Learner, episodes: list[Episode], spec: EnvironmentSpec) -> None:
    """Stores episodes, each in the stream with the fewest rows; the learner takes in their scale.

    A replay without room for them keeps the last ones.
    """
    rows = [0] * replay.num_envs
    for e in episodes:
        stream = int(np.argmin(rows))
        rows[stream] += len(e.observation)
        replay.begin(stream, e.observation[0])
        for i, (a, reward) in enumerate(zip(e.action, e.reward, strict=True)):
            last = i + 1 == len(e.action)
            replay.add(stream, a, reward, last and e.terminated, last, e.observation[i + 1])
    seen = np.concatenate([e.observation for e in episodes])
    learner.observe(torch.from_numpy(seen.astype(spec.observation.dtype, copy=False)))
    reward = torch.from_numpy(np.concatenate([e.reward for e in episodes]))
    learner.observe_rewards(reward, torch.tensor([e.terminated for e in episodes]))
