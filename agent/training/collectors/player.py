"""What the training loop asks of whoever plays the episodes that it learns from.

Shapes: B streams of episodes, as many as the replay has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import torch

from worldplan.agent.acting.actors import AgentActor, Switch
from worldplan.agent.acting.rollout import Reset, Step, rollout
from worldplan.agent.agent import Agent
from worldplan.agent.config.run import RunConfig
from worldplan.envs import VectorEnv


def explorer(agent: Agent, random: Callable[[], bool]) -> Switch:
    """Who plays while an agent learns: random actions as long as `random` says so, then plans."""
    first, second = (agent.actor(name, explore=True) for name in ("random", "planner"))
    return Switch(first, second, random)


def longest_episode(config: RunConfig, env: VectorEnv) -> int | None:
    """Decisions after which an episode that is learned from is cut; None: it lasts to its end.

    Raises:
        ValueError: the environment cannot be told to begin anew.
    """
    if config.train_max_steps is not None and not env.restarts:
        raise ValueError(
            f"a batch of {config.env.id} that resets itself cannot be told where an episode ends: "
            "expected train_max_steps=null or a vector environment of autoreset mode DISABLED, "
            f"got {config.train_max_steps}"
        )
    return config.train_max_steps


class Player(Protocol):
    """Plays episodes without end."""

    def start(self) -> None:
        """Makes ready what plays, which may take a while."""

    def events(self) -> Iterator[Reset | Step]:
        """Of all B streams. To pause, leave the loop."""

    def pauses(self, event: Step) -> bool:
        """Whether a checkpoint that is due can be written after this event."""

    def measures(self) -> Mapping[str, float]:
        """What is logged of it, since it was last asked."""

    def close(self) -> None:
        """Ends whatever plays."""


class Here:
    """Plays in this process, so that the same seed gives the same run.

    A checkpoint is between episodes of the first environment, so that no state of the simulator has
    to be saved: unfinished episodes of the others are truncated there, and all begin anew.
    """

    def __init__(
        self,
        actor: AgentActor,
        env: VectorEnv,
        seeds: Iterable[int],
        generator: torch.Generator,
        longest: int | None = None,
    ) -> None:
        self.actor, self.env, self.seeds, self.generator = actor, env, seeds, generator
        self.longest = longest

    def start(self) -> None:
        """The environments are made."""

    def events(self) -> Iterator[Reset | Step]:
        who = self.actor, self.env, self.seeds, self.generator
        return rollout(*who, again=True, longest=self.longest)

    def pauses(self, event: Step) -> bool:
        return bool(event.done[0])

    def measures(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        """The environments belong to whoever made them."""
