"""Collectors on a Ray cluster, whose episodes go into the replay of one learner.

Shapes: B collectors, each a stream of episodes.
"""

from __future__ import annotations

import pickle
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import fields
from typing import Any

import cloudpickle
import numpy as np

from worldplan.agent.acting.rollout import Reset, Step
from worldplan.agent.training.collectors import cluster
from worldplan.agent.training.collectors.collector import Collector
from worldplan.agent.training.trained import TrainedAgent
from worldplan.envs import EnvironmentFault
from worldplan.envs.elsewhere import registration

_CHUNK = 10  # events that a collector plays with the same weights
_MOST_LOST = 3  # deaths of a collector in a row: its environment may be what kills it


class Crew:
    """Each collector plays on while the learner learns from what it played before.

    A collector is asked for its next events as soon as the learner takes up the last ones, and for
    no more: a learner that is slower makes them wait, so that `updates_per_step` holds. The weights
    it plays with are those of the moment it was asked. Which collector is faster depends on the
    clock, so that the same seed does not give the same run.
    """

    def __init__(
        self,
        agent: TrainedAgent,
        updates: Callable[[], int],
        random: Callable[[], bool],
        number: Callable[[], int],
        warn: Callable[[str], None],
    ) -> None:
        """Connects to the cluster.

        Args:
            agent: that learns; its weights are sent.
            updates: how many it has made.
            random: whether actions are random still.
            number: of a new collector, no other one's.
            warn: is told of deaths.

        Raises:
            ValueError: Ray is not installed.
            ConnectionError: no cluster answers at RAY_ADDRESS.
        """
        self.ray = cluster.require("collectors")
        self._open = ExitStack()
        weakref.finalize(self, self._open.close)
        self._open.enter_context(cluster.connected(self.ray))
        self.agent, self.updates, self.random = agent, updates, random
        self.number, self.warn = number, warn
        self.collectors: list[Any] = []
        self._asked: dict[Any, tuple[int, int]] = {}  # task -> collector, updates when asked
        self._played: deque[Reset | Step] = deque()  # and not learned from yet
        self._has = [0] * agent.run.collectors  # updates that each one's weights have seen
        self._deaths = [0] * agent.run.collectors  # since it last played
        self._sent: tuple[int, Any] = (0, None)  # updates, and the weights after them
        self._behind: list[int] = []

    def start(self) -> None:
        self.collectors = [self._hired(i) for i in range(len(self._has))]
        for i in range(len(self.collectors)):
            self._ask(i)
        self.ray.wait(list(self._asked), num_returns=1)

    def events(self) -> Iterator[Reset | Step]:
        while True:
            while self._played:
                yield self._played.popleft()
            (task, *_), _ = self.ray.wait(list(self._asked), num_returns=1)
            self._take(task)

    def pauses(self, event: Step) -> bool:
        """Always: episodes go on after a checkpoint, and those of a resumed run begin anew."""
        return True

    def measures(self) -> Mapping[str, float]:
        """Updates that the learner made between an action's weights and its arrival."""
        behind, self._behind = self._behind, []
        return {"updates_behind": float(np.mean(behind))} if behind else {}

    def close(self) -> None:
        with suppress(ConnectionError):  # a connection that is lost has taken them with it
            for collector in self.collectors:
                self.ray.kill(collector)
        self.collectors = []
        self._open.close()

    def _hired(self, i: int) -> Any:
        # No core is claimed: most wait for their environment, and one that died must find a place.
        actor = self.ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy="SPREAD")(Collector)
        self._has[i] = self.updates()
        path = [place for place in sys.path if isinstance(place, str)]
        known = registration(self.agent.run.env.id)
        return actor.remote(cloudpickle.dumps(self.agent), self.number(), known, path)

    def _ask(self, i: int) -> None:
        now = self.updates()
        weights = None
        if self._has[i] != now:
            if self._sent[0] != now:
                self._sent = now, self.ray.put(self.agent.on_cpu().weights())
            weights = self._sent[1]
        task = self.collectors[i].play.remote(_CHUNK, self.random(), weights)
        self._asked[task] = i, now
        self._has[i] = now

    def _take(self, task: Any) -> None:
        """What a collector has played, which is then asked to go on."""
        i, at = self._asked.pop(task)
        try:
            events, error = self.ray.get(task)
        except self.ray.exceptions.RayError as fault:  # its process or its node is gone
            self._replace(i, fault)
            return
        if error is not None:
            raise pickle.loads(error)
        self._deaths[i] = 0
        self._behind.append(self.updates() - at)
        self._played.extend(_among(event, i, len(self.collectors)) for event in events)
        self._ask(i)

    def _replace(self, i: int, fault: Exception) -> None:
        """Another collector in place of one that died: its first event ends the open episode."""
        self._deaths[i] += 1
        if self._deaths[i] == _MOST_LOST:
            raise EnvironmentFault(
                f"collector {i} died {_MOST_LOST} times in a row, the last time by {fault}"
            ) from fault
        self.warn(f"collector {i} died; its episode ends there, and another one takes its place")
        self.collectors[i] = self._hired(i)
        self._ask(i)


def _among(event: Reset | Step, i: int, streams: int) -> Reset | Step:
    """An event of one environment as one of B, of which number i alone is under way."""

    def spread(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        rows = np.zeros((streams, *value.shape[1:]), value.dtype)
        rows[i] = value[0]
        return rows

    return type(event)(**{f.name: spread(getattr(event, f.name)) for f in fields(event)})
