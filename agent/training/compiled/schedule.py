"""When the compiled code of a run takes over from the uncompiled one.

At a fixed step, not when compiling happens to be done: a seed gives one result, and a resumed run
knows which code is due.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldplan.agent.config.run import RunConfig
from worldplan.agent.learning.compiling import no_compiler

# Compiling takes some minutes of a core. A run pays for it that is this many times as long as the
# uncompiled steps at its beginning.
_PAYS = 5


@dataclass(frozen=True)
class Schedule:
    """From step `at` on the hot functions run compiled; None: never."""

    at: int | None
    note: str  # says so to the user

    @property
    def beside(self) -> bool:
        """Whether there is time to compile beside the first steps, on one of their cores."""
        return bool(self.at)


def schedule(config: RunConfig, steps: int, threads: int) -> Schedule:
    """Of a run of `steps`, in a process with `threads`.

    One thread is for one of several runs side by side: another busy process would be in their way,
    so that such a run compiles before it starts.
    """
    after = config.compile_after
    if config.compile == "off":
        return Schedule(None, "nothing is compiled: as asked")
    if config.compile == "on":
        return Schedule(0, "compiles first, as asked: minutes, or seconds if done before")
    if missing := no_compiler():
        return Schedule(None, f"nothing is compiled: {missing}; runs slower, learns the same")
    if steps < _PAYS * after:
        return Schedule(
            None, f"starts at once, and compiles nothing: {steps:,} steps would not pay for it"
        )
    if threads == 1 or not after:
        return Schedule(0, "compiles first: minutes, or seconds if done before")
    return Schedule(
        after,
        f"starts at once, and compiles beside, on one core; compiled code, about twice as fast, "
        f"takes over at step {after:,}",
    )
