"""Callbacks: what a user gives in place of a listener."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from worldplan.agent.config.names import unknown
from worldplan.agent.training.events import EvaluationEvent, Listener, Run

EVENTS = tuple(name for name in vars(Listener) if name.startswith("on_"))


def as_listeners(callbacks: Iterable[object] | object) -> list[Listener]:
    """Listeners of callbacks, or of a single one: each is a listener, an object with some of its
    methods, or a function of an `EvaluationEvent`. Where one of these returns False, the run ends
    after that step.

    Raises:
        ValueError: none of these; or a method `on_...` that no event has.
    """
    several: Iterable[object] = callbacks if isinstance(callbacks, Iterable) else [callbacks]
    return [_as_listener(callback) for callback in several]


def _as_listener(callback: object) -> Listener:
    if isinstance(callback, Listener):
        return callback
    methods = [n for n in dir(callback) if n.startswith("on_") and callable(getattr(callback, n))]
    for name in methods:
        if name not in EVENTS:
            raise ValueError(unknown("event", name, EVENTS))
    if isinstance(callback, type) or not (methods or callable(callback)):
        raise ValueError(
            "expected as callback an object with a method of "
            f"{', '.join(EVENTS)}, or a function of each evaluation, got {callback!r}"
        )
    return _OfObject(callback, methods) if methods else _OfFunction(callback)  # type: ignore[arg-type]


class _OfObject(Listener):
    """Tells an object of the events for which it has methods."""

    def __init__(self, callback: object, methods: Iterable[str]) -> None:
        self.name = type(callback).__name__
        for method in methods:
            setattr(self, method, getattr(callback, method))


class _OfFunction(Listener):
    """Tells a function of each evaluation."""

    def __init__(self, callback: Callable[[EvaluationEvent], Any]) -> None:
        self.name = getattr(callback, "__name__", type(callback).__name__)
        self.callback = callback

    def on_start(self, run: Run) -> None:
        self.run = run

    def on_evaluation(self, event: EvaluationEvent) -> bool | None:
        answer: bool | None = self.callback(event)
        return answer
