"""What training asks of Ray, without a cluster: actors of this process, whose death is arranged."""

from types import SimpleNamespace
from typing import Any


class Gone(Exception):
    """In place of `ray.exceptions.RayError`."""


class LocalRay:
    """A call is carried out at once. `dies(actor, call)` tells which calls kill their actor.

    Args:
        dies: of an actor's number, in the order in which they were made, and the number of a call.
    """

    exceptions = SimpleNamespace(RayError=Gone)

    def __init__(self, dies: Any = lambda actor, call: False) -> None:
        self.dies, self.killed = dies, 0
        self.made: list[Any] = []  # what the actors are

    def is_initialized(self) -> bool:
        return True

    def remote(self, **_: Any) -> Any:
        return lambda kind: SimpleNamespace(remote=lambda *words: self._make(kind(*words)))

    def put(self, value: Any) -> Any:
        return {name: tensor.clone() for name, tensor in value.items()}

    def wait(self, tasks: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return tasks[:num_returns], tasks[num_returns:]

    def get(self, task: Any) -> Any:
        if task.answer is None:
            raise Gone("the actor died")
        return task.answer

    def kill(self, actor: Any) -> None:
        self.killed += 1

    def _make(self, actor: Any) -> Any:
        number, calls = len(self.made), 0
        self.made.append(actor)

        def play(*words: Any) -> Any:
            nonlocal calls
            calls += 1
            return _Task(None if self.dies(number, calls) else actor.play(*words))

        return SimpleNamespace(play=SimpleNamespace(remote=play))


class _Task:
    """Told apart from others by what it is, not by its answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
