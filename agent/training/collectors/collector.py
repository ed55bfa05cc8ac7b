"""A collector: one environment that is played in a process of its own, on any node of a cluster."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from worldplan.agent.acting.rollout import Reset, Step, rollout
from worldplan.agent.data.seeds import collector_seeds
from worldplan.agent.training.collectors.player import explorer, longest_episode
from worldplan.agent.training.trained import TrainedAgent
from worldplan.envs import make_vector
from worldplan.envs.elsewhere import made, packed


class Collector:
    """Plays with the weights that it was last given. Its decisions are not compiled."""

    def __init__(self, agent: bytes, number: int, known: bytes | None, path: Sequence[str]) -> None:
        """Makes nothing yet: errors are told where it is asked to play.

        Args:
            agent: a pickled `TrainedAgent`.
            number: of the collector in its run: it has random numbers of its own.
            known: of the environment's id, see `registration`.
            path: where modules are found besides this process's own places.
        """
        self._given = agent, number, known
        self._path = path
        self._events: Iterator[Reset | Step] | None = None
        self._random = True

    def play(
        self, events: int, random: bool, weights: Mapping[str, Tensor] | None
    ) -> tuple[list[Reset | Step], bytes | None]:
        """The next events, by random actions or with these weights (None: those it has).

        An error comes in place of events, for `pickle.loads`: with its traceback, and whatever it
        is. Only the death of this process is Ray's matter.
        """
        try:
            if self._events is None:
                self._events = self._begin()
            self._random = random
            if weights is not None:
                self._agent.load_weights(dict(weights))
            return [_light(event) for event in islice(self._events, events)], None
        except (Exception, SystemExit) as error:  # noqa: BLE001 (the learner raises it)
            return [], packed(error)

    def _begin(self) -> Iterator[Reset | Step]:
        torch.set_num_threads(1)
        sys.path += [place for place in self._path if place not in sys.path]
        agent, number, known = self._given
        self._agent: TrainedAgent = pickle.loads(agent)
        run = self._agent.run
        env = made(partial(make_vector, run.env, 1), run.env.id, known)
        acting, seeds = collector_seeds(run.seed, number)
        actor = explorer(self._agent, lambda: self._random)
        who = actor, env, seeds, self._agent.generator(acting)
        return rollout(*who, again=True, longest=longest_episode(run, env))


def _light(event: Reset | Step) -> Reset | Step:
    """Without the plan, which is larger than all else and is not learned from."""
    return replace(event, plan=None) if isinstance(event, Step) else event
