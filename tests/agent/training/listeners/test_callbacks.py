"""Callbacks: what may be given in place of a listener, and how it ends a run."""

from typing import Any

import numpy as np
import pytest

from worldplan.agent.training.events import Listener, Listeners, StepEvent
from worldplan.agent.training.listeners.callbacks import as_listeners


class Run:
    stop: str | None = None


class Counts:
    def __init__(self) -> None:
        self.steps = 0

    def on_start(self, run: Any) -> None:
        self.run = run

    def on_step(self, event: StepEvent) -> bool:
        self.steps += 1
        return self.steps < 2


def told(callback: object) -> tuple[Listeners, Any]:
    run: Any = Run()
    listeners = Listeners(as_listeners([callback]))
    listeners.on_start(run)
    return listeners, run


def test_an_object_has_the_methods_that_it_needs() -> None:
    counts = Counts()
    listeners, run = told(counts)
    assert counts.run is run
    event = StepEvent(1, 1.0)
    listeners.on_step(event)
    assert run.stop is None
    listeners.on_step(event)
    assert run.stop == "stopped by Counts"
    listeners.on_warning("it has no method for this")
    listeners.on_end()


def test_a_function_gets_evaluations() -> None:
    seen: list[object] = []
    listeners, run = told(seen.append)
    listeners.on_step(StepEvent(1, 1.0))
    listeners.on_evaluation("event")  # type: ignore[arg-type]
    assert seen == ["event"]
    assert run.stop is None


@pytest.mark.parametrize("answer", [False, np.float64(1) > 2])
def test_false_ends_the_run(answer: object) -> None:
    listeners, run = told(lambda event: answer)
    listeners.on_evaluation("event")  # type: ignore[arg-type]
    assert run.stop == "stopped by <lambda>"


@pytest.mark.parametrize("answer", [None, True, 0, [], "text"])
def test_anything_else_goes_on(answer: object) -> None:
    listeners, run = told(lambda event: answer)
    listeners.on_evaluation("event")  # type: ignore[arg-type]
    assert run.stop is None


def test_a_single_callback_needs_no_list() -> None:
    assert [listener.name for listener in as_listeners(print)] == ["print"]
    own = Listener()
    assert as_listeners(own) == [own]


def test_a_listener_may_return_false() -> None:
    class Enough(Listener):
        def on_step(self, event: StepEvent) -> bool:
            return False

    listeners, run = told(Enough())
    listeners.on_step(StepEvent(1, 1.0))
    assert run.stop == "stopped by Enough"


class Misspelt:
    def on_evaluate(self, event: object) -> None: ...


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (Misspelt(), "Did you mean 'on_evaluation'"),
        (Counts, "expected as callback an object with a method of on_start"),
        (3, "got 3"),
    ],
)
def test_what_would_never_be_called_is_refused(callback: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_listeners([callback])
