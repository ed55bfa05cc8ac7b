"""Compiled code takes over from the uncompiled one, at the step that the schedule says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from types import TracebackType

import torch

from worldplan.agent.agent import Agent
from worldplan.agent.config.run import RunConfig
from worldplan.agent.learning.compiling import obstacle
from worldplan.agent.learning.learner import Learner
from worldplan.agent.training.compiled.beside import Beside
from worldplan.agent.training.compiled.schedule import Schedule
from worldplan.agent.training.compiled.switching import rehearse, switch
from worldplan.agent.training.trained import identity

_LONGEST = 1800.0  # s to wait for the other process; then it hangs


class Takeover:
    """Within it, `reach` swaps in the compiled code when its step has come.

    Until then one core is left to the process that compiles: on two cores, two processes with two
    threads each are many times slower. PyTorch gets its threads back afterwards.
    """

    def __init__(
        self,
        schedule: Schedule,
        config: RunConfig,
        learnt: tuple[Agent, Learner],
        plans: Sequence[int],
        guard: Callable[[], AbstractContextManager[None]],
        say: Callable[[str], None],
    ) -> None:
        """Takes over for an agent and its learner.

        Args:
            plans: for how many environments at once the agent decides; see `rehearse`.
            guard: entered while it waits or compiles, which a signal may end.
            say: shows a line to the user.
        """
        self.schedule, self.config, self.plans = schedule, config, plans
        self.agent, self.learner = learnt
        self.guard, self.say = guard, say
        self.done = schedule.at is None
        self.waiting = False
        self.beside: Beside | None = None

    def __enter__(self) -> Takeover:
        self.threads = torch.get_num_threads()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._end_beside()
        torch.set_num_threads(self.threads)

    def reach(self, step: int) -> None:
        """To be called at the run's first step, also after a resume, and after each step.

        Raises:
            KeyboardInterrupt: a signal came while it waited or compiled.
        """
        if self.done:
            return
        assert self.schedule.at is not None
        if step < self.schedule.at:
            if not self.waiting:
                self._compile_beside()
            return
        began = time.perf_counter()
        with self.guard():
            self._wait(step)
            self._swap()
        self.done = True
        if self.agent.execution.compiled and self.schedule.at:
            spent = time.perf_counter() - began
            self.say(f"step {step:>7,}: compiled code has taken over, in {spent:.0f} s")

    def _compile_beside(self) -> None:
        self.waiting = True
        told = identity(self.config, self.agent.spec)
        with suppress(OSError):  # no more processes: this one will compile
            self.beside = Beside(told, self.threads, self.plans)
        torch.set_num_threads(max(1, self.threads - 1))  # on which results may depend

    def _wait(self, step: int) -> None:
        if self.beside is None:
            return
        if self.beside.working():
            self.say(f"step {step:>7,}: waiting for the process that compiles")
        until = time.monotonic() + _LONGEST
        while self.beside.working() and time.monotonic() < until:
            time.sleep(0.05)
        self._end_beside()  # where it failed, this process compiles

    def _swap(self) -> None:
        torch.set_num_threads(self.threads)  # which compiled code has to have
        if reason := obstacle():
            return self.say(f"nothing is compiled: {reason}; runs slower, learns the same")
        execution = replace(self.agent.execution, compiled=True)
        switch(self.agent, execution)
        self.learner.prepare(execution)
        rehearse(self.agent, self.learner, self.plans)

    def _end_beside(self) -> None:
        if self.beside is not None:
            self.beside.end()
            self.beside = None
