"""Decisions at the beats of a clock; what is done where one is late, fails, or sees nothing."""

import gc
from typing import Any

import numpy as np
import pytest

from tests.helpers.acting_agents import agent as small_agent
from worldplan.agent.agent import Agent
from worldplan.agent.deployment import fixed_rate
from worldplan.agent.deployment.fixed_rate import Timing, control, safe_action, ticks
from worldplan.envs import ActionSpec, EnvironmentSpec


class Clock:
    """A clock that only what is told so moves; without a hair's breadth of rounding."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, list[float]()

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fixed_rate, "time", clock)
    return clock


@pytest.fixture
def agent() -> Agent:
    a = small_agent()
    vectors = EnvironmentSpec.vectors(3, 2)
    bounds = ActionSpec(2, low=(-1.0, 0.0), high=(3.0, 10.0))
    a.spec = EnvironmentSpec(vectors.observation, bounds)
    return a


def taking(clock: Clock, seconds: list[float], seen: list[float] | None = None) -> Any:
    """Reads zeros; each decision then takes so long, the last time again and again."""
    left = iter(seconds)

    def read() -> Any:
        if seen is not None:
            seen.append(clock.now)
        clock.now += next(left, seconds[-1])
        return np.zeros(3)

    return read


def test_every_beat_has_its_decision(agent: Agent, clock: Clock) -> None:
    timing, seen = Timing(8.0), list[float]()
    read = taking(clock, [0.03125], seen)
    found = list(ticks(agent, read, timing, rate=8.0, seconds=1.0))
    assert seen == [i / 8 for i in range(8)]
    assert timing.summary() == {
        **{"rate": 8.0, "ticks": 8, "planned": 8, "failed": 0, "unseen": 0},
        **{"late": 0, "skipped": 0, "p50_ms": 31.25, "p99_ms": 31.25, "max_ms": 31.25},
    }
    assert not any(tick.late for tick in found)


def test_actions_are_the_agents_in_the_environments_bounds(agent: Agent, clock: Clock) -> None:
    found = list(ticks(agent, lambda: np.ones(3), Timing(8.0), rate=8.0, seconds=0.5))
    agent.reset()
    for tick in found:
        np.testing.assert_array_equal(tick.action, agent.act(np.ones(3), scaled=True))


def test_a_late_decision_skips_the_beats_it_took(agent: Agent, clock: Clock) -> None:
    """Of 0.3125 s where a beat has 0.125: two are skipped, and none comes in a burst."""
    timing, seen = Timing(8.0), list[float]()
    read = taking(clock, [0.0, 0.3125, 0.0], seen)
    found = list(ticks(agent, read, timing, rate=8.0, seconds=1.0))
    assert seen == [i / 8 for i in (0, 1, 4, 5, 6, 7)]
    assert [tick.late for tick in found] == [False, True, False, False, False, False]
    assert (timing.late, timing.skipped) == (1, 2)
    assert timing.summary()["max_ms"] == 312.5


def test_what_fails_or_is_not_seen_is_a_safe_action(agent: Agent, clock: Clock) -> None:
    given = iter([np.zeros(3), None, np.array([0.0, np.nan, 0.0]), np.zeros(4), np.zeros(3)])
    timing = Timing(8.0)
    found = list(ticks(agent, lambda: next(given), timing, rate=8.0, seconds=0.625))
    assert [t.outcome for t in found] == ["planned", "unseen", "failed", "failed", "planned"]
    assert "expected a finite float32 observation, got nan" in found[2].why
    assert "shape (3,)" in found[3].why
    for tick in found[1:4]:
        assert tick.action.tolist() == [1.0, 5.0]  # the middle of the bounds
    assert dict(timing.outcomes) == {"planned": 2, "unseen": 1, "failed": 2}


def test_no_finite_plan_is_a_safe_action(agent: Agent, clock: Clock) -> None:
    agent.minimise(lambda x: x[..., 0] * np.nan, lambda features: features)
    (tick,) = ticks(agent, lambda: np.zeros(3), Timing(8.0), rate=8.0, seconds=0.125)
    assert tick.outcome == "failed"
    assert "no candidate has a finite cost" in tick.why


def test_why_decisions_failed_is_told(agent: Agent, clock: Clock) -> None:
    seen = iter([np.array([np.nan, 0, 0]), np.ones((2, 3)), np.ones(3), np.ones(3)])
    timing = control(agent, lambda: next(seen), lambda _: None, rate=8.0, seconds=0.5)
    assert timing.summary()["failed"] == 2
    assert str(timing).endswith("because: expected one observation, got a batch of 2")


def test_the_safe_action_is_the_last(agent: Agent, clock: Clock) -> None:
    """Whatever ends the run."""
    written: list[Any] = []
    timing = control(agent, lambda: np.ones(3), written.append, rate=8.0, seconds=0.25)
    assert timing.summary()["ticks"] == 2
    assert len(written) == 3
    assert written[-1].tolist() == [1.0, 5.0]

    def breaks() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        control(agent, breaks, written.append, rate=8.0, safe=np.array([2.0, 7.0]))
    assert written[-1].tolist() == [2.0, 7.0]

    def fails() -> Any:  # a fault of the robot's own program: nothing hides it
        raise ValueError("the camera is gone")

    with pytest.raises(ValueError, match="the camera is gone"):
        control(agent, fails, written.append, rate=8.0)
    assert written[-1].tolist() == [1.0, 5.0]

    def ends() -> Any:
        raise EOFError

    assert control(agent, ends, written.append, rate=8.0).summary()["ticks"] == 0


def test_the_search_has_a_deadline_while_it_runs(agent: Agent, clock: Clock) -> None:
    deadlines = []

    def read() -> Any:
        deadlines.append(agent.controller.planner.config.deadline_ms)
        return np.zeros(3)

    list(ticks(agent, read, Timing(8.0), rate=8.0, seconds=0.125))
    list(ticks(agent, read, Timing(8.0), rate=8.0, seconds=0.125, deadline_ms=10.0))
    assert deadlines == [pytest.approx(75.0), 10.0]
    assert agent.controller.planner.config.deadline_ms is None


def test_no_garbage_is_collected_within_a_decision(agent: Agent, clock: Clock) -> None:
    enabled = []

    def read() -> Any:
        enabled.append(gc.isenabled())
        return np.zeros(3)

    was = gc.isenabled()
    list(ticks(agent, read, Timing(8.0), rate=8.0, seconds=0.125))
    assert enabled == [False]
    assert gc.isenabled() == was


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"rate": 0.0}, "expected a rate of up to 10,000 decisions a second, got 0"),
        ({"rate": 50.0, "deadline_ms": 30.0}, "expected a deadline within the period, 20 ms"),
        ({"rate": 50.0, "deadline_ms": -1.0}, "got -1"),
    ],
)
def test_what_cannot_be_is_told(agent: Agent, how: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        control(agent, lambda: None, lambda action: None, seconds=0.0, **how)


def test_the_safe_action_of_choices_is_the_first(small_choices: Agent) -> None:
    assert safe_action(small_choices) == 0


@pytest.fixture
def small_choices() -> Agent:
    a = small_agent(kind="cem")
    choices = ActionSpec(3, "discrete", choices=(3,), first=(0,))
    spec = EnvironmentSpec(EnvironmentSpec.vectors(3, 3).observation, choices)
    return Agent(a.config, spec)


def test_a_safe_action_of_ones_own_is_one_that_the_environment_takes(agent: Agent) -> None:
    own = safe_action(agent, [3, 0.5])
    assert own.tolist() == [3.0, 0.5]
    assert own.dtype == np.float32
    for wrong in ([3.5, 0.5], [0.5], [np.nan, 1], "stop", [[0.0, 1.0]]):
        with pytest.raises(ValueError, match=r"expected a safe action .* within \(-1.0, 0.0\)"):
            safe_action(agent, wrong)
