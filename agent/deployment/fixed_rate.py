"""An agent at a fixed rate, as a robot needs one: a decision in time, or a safe action."""

from __future__ import annotations

import gc
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from worldplan.agent.agent import Agent
from worldplan.agent.config.texts import one_line

Read = Callable[[], Any]
_WARM = 3  # decisions before the clock starts: the first ones are slow
_KEPT = 1_000_000  # the latest decisions, of which times are told: 5.5 hours at 50 Hz


class Unreadable(ValueError):
    """Raised by `read`: something came, and it is no observation."""


@dataclass(frozen=True)
class Tick:
    """What the agent does at one beat of the clock."""

    action: Any  # as the environment takes it
    outcome: Literal["planned", "failed", "unseen"]  # the last two: the safe action
    late: bool  # it was ready only after the next beat
    ms: float  # from the beat to the action
    why: str = ""  # what failed


@dataclass
class Timing:
    """How a run at a fixed rate went."""

    rate: float  # Hz
    ms: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    outcomes: Counter[str] = field(default_factory=Counter)
    late: int = 0
    skipped: int = 0  # beats that passed while a late decision was made
    why: str = ""  # of the latest decision that failed

    def add(self, tick: Tick) -> None:
        self.ms.append(tick.ms)
        self.outcomes[tick.outcome] += 1
        self.late += tick.late
        self.why = tick.why or self.why

    def summary(self) -> dict[str, Any]:
        """Counts, and milliseconds from a beat to its action."""
        ms = np.array(self.ms or [math.nan])
        p50, p99 = np.percentile(ms, [50, 99])
        counts = {name: self.outcomes[name] for name in ("planned", "failed", "unseen")}
        return {
            "rate": self.rate,
            "ticks": sum(self.outcomes.values()),
            **counts,
            "late": self.late,
            "skipped": self.skipped,
            "p50_ms": round(float(p50), 2),
            "p99_ms": round(float(p99), 2),
            "max_ms": round(float(ms.max()), 2),
        }

    def __str__(self) -> str:
        s = self.summary()
        if not s["ticks"]:
            return f"no ticks at {s['rate']:g} Hz"
        why = f"; failed lastly because: {one_line(self.why)}" if self.why else ""
        return (
            f"{s['ticks']:,} ticks at {s['rate']:g} Hz: {s['late']} late, {s['failed']} failed, "
            f"{s['unseen']} without a new observation; {s['p50_ms']} ms (p50), {s['p99_ms']} ms "
            f"(p99), {s['max_ms']} ms (longest){why}"
        )


def control(
    agent: Agent,
    read: Read,
    write: Callable[[Any], object],
    *,
    rate: float = 50.0,
    seconds: float | None = None,
    safe: Any = None,
    deadline_ms: float | None = None,
) -> Timing:
    """Acts at a fixed rate: see `ticks`. When it ends, whatever the reason, the safe action is the
    last one written.

    Args:
        write: gets each action as soon as it is there, as the environment takes it.
    """
    timing = Timing(rate)
    safe = safe_action(agent, safe)
    try:
        for tick in ticks(
            agent, read, timing, rate=rate, seconds=seconds, safe=safe, deadline_ms=deadline_ms
        ):
            write(tick.action)
    finally:
        write(safe)
    return timing


def ticks(
    agent: Agent,
    read: Read,
    timing: Timing,
    *,
    rate: float,
    seconds: float | None = None,
    safe: Any = None,
    deadline_ms: float | None = None,
) -> Iterator[Tick]:
    """One action for each beat of the clock, from a new episode of the agent on.

    The search ends at its deadline with the best plan so far (`planner.deadline_ms`); one that was
    nevertheless late is still executed, and the beats that passed meanwhile are skipped: actions
    never come in a burst. Whatever drives the motors should hold the last action, or stop, when
    none comes. Python's garbage is collected between decisions only.

    Args:
        read: the newest observation, as for `Agent.act`; None if there is none since the last beat.
            It must not wait. `agent.reset()` within it begins an episode. It raises EOFError to
            end the run, and `Unreadable` where what came is no observation.
        timing: is added to.
        rate: decisions a second.
        seconds: None: until `read` ends it.
        safe: what is done where nothing new was seen or a decision fails (`Unreadable`; ValueError
            or FloatingPointError of the agent: an observation is not finite, say): see
            `safe_action`. `Timing.why` tells the reason.
        deadline_ms: of the search, within the period; default: 0.6 of it.

    Raises:
        ValueError: see `check_pace` and `safe_action`.
    """
    check_pace(rate, deadline_ms)
    period = 1 / rate
    safe = safe_action(agent, safe)
    with ready(agent, rate, deadline_ms):
        agent.reset()
        with _no_garbage():
            started, beat = time.perf_counter(), 0
            while seconds is None or beat < seconds * rate:
                due = started + beat * period
                _wait(due)
                try:
                    action, outcome, why = _decide(agent, read, safe)
                except EOFError:
                    return
                now = time.perf_counter()
                tick = Tick(action, outcome, now > due + period, 1000 * (now - due), why)
                timing.add(tick)
                yield tick
                passed = math.ceil((time.perf_counter() - started) / period)
                timing.skipped += max(0, passed - beat - 1)
                beat = max(beat + 1, passed)


def safe_action(agent: Agent, given: Any = None) -> Any:
    """One's own, or what does nothing as far as that is known: the middle of the bounds, or the
    first choice.

    Raises:
        ValueError: the environment does not take it.
    """
    spec, planner = agent.spec.action, agent.controller.planner
    zero = planner.actions.executable(planner.initial_state(1).mean[0, :1].cpu())
    nothing = spec.scaled(zero.numpy())[0]
    if given is None:
        return nothing
    safe = np.asarray(given)
    fits = safe.dtype.kind in "fiu" and safe.shape == np.shape(nothing)
    if not fits or not spec.valid(spec.encoded(safe[None])).all():
        bounds = "" if spec.low is None else f" within {spec.low} and {spec.high}"
        raise ValueError(
            f"expected a safe action as the environment takes it, such as {nothing}{bounds}, got "
            f"{given!r}"
        )
    return safe.astype(nothing.dtype)


def _decide(agent: Agent, read: Read, safe: Any) -> tuple[Any, Any, str]:
    try:
        observation = read()
    except Unreadable as error:
        return safe, "failed", str(error)
    if observation is None:
        return safe, "unseen", ""
    try:
        action = agent.act(observation, scaled=True)
    except (ValueError, FloatingPointError) as error:
        return safe, "failed", str(error)
    if np.shape(action) != np.shape(safe):
        agent.reset()  # else it would go on with as many
        return safe, "failed", f"expected one observation, got a batch of {len(action)}"
    return action, "planned", ""


def check_pace(rate: float, deadline_ms: float | None = None) -> None:
    """Raises ValueError for a rate that cannot be, or a deadline that is not within its period."""
    if not 0 < rate <= 10_000:
        raise ValueError(f"expected a rate of up to 10,000 decisions a second, got {rate}")
    if deadline_ms is not None and not 0 < deadline_ms <= 1000 / rate:
        raise ValueError(
            f"expected a deadline within the period, {1000 / rate:g} ms, got {deadline_ms}"
        )


@contextmanager
def ready(agent: Agent, rate: float, deadline_ms: float | None = None) -> Iterator[None]:
    """Within it the agent's search has a deadline; what its first decisions need has been made.

    Raises:
        ValueError: see `check_pace`.
    """
    check_pace(rate, deadline_ms)
    before = agent.controller.planner.config.deadline_ms
    agent.controller.set_deadline(600 / rate if deadline_ms is None else deadline_ms)
    try:
        spec = agent.spec.observation
        for _ in range(_WARM):
            agent.reset()
            with suppress(FloatingPointError):  # nothing can be planned from zeros: no harm
                agent.act(np.zeros(spec.shape, spec.dtype), scaled=True)
        yield
    finally:
        agent.controller.set_deadline(before)


@contextmanager
def _no_garbage() -> Iterator[None]:
    """No collection stops a decision; those of `_wait` take what is young."""
    was = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was:
            gc.enable()


def _wait(due: float) -> None:
    """Sleeps until then; first collects garbage if there is time."""
    if due - time.perf_counter() > 0.002:
        gc.collect(0)
    time.sleep(max(0.0, due - time.perf_counter()))
