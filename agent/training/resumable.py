"""A training run whose state is on disk: it survives kills, signals, errors and full disks."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from worldplan.agent.config.reading import reading
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.dataset import Episode
from worldplan.agent.data.replay import Replay
from worldplan.agent.training import checkpoint, foreign, restore, trained
from worldplan.agent.training.base import Training
from worldplan.agent.training.curve import CURVES, cut_back, mark
from worldplan.agent.training.disk import run_folder
from worldplan.agent.training.events import Listener
from worldplan.agent.training.offline.recorded import check_data, fill, read_data
from worldplan.envs import EnvironmentFault, EnvironmentSpec, is_given


class Resumable(Training):
    """Everything that the next step depends on, which a checkpoint holds, and the replay.

    `start` makes the run's folder, or goes on from it. A checkpoint is between episodes, so that no
    state of the simulator has to be saved; it waits `longest` decisions for an episode to end.
    """

    def __init__(
        self,
        config: RunConfig,
        run_dir: Path,
        console: Console,
        spec: EnvironmentSpec,
        listeners: Iterable[Listener],
        longest: int,
    ) -> None:
        plans = config.num_envs, config.eval_episodes, config.final_episodes
        super().__init__(config, run_dir, console, spec, listeners, config.steps, plans)
        self.patience = config.num_envs * longest  # steps
        self.acting = self.agent.generator(config.seed)
        self.episode = 0  # number of the next one
        self.updates_due = 0.0
        self.evaluation_due = False
        self.clock = {"act": 0.0, "update": 0.0, "env": 0.0, "evaluate": 0.0, "total": 0.0}
        self.lengthened = False  # since the checkpoint that it goes on from
        self.refused = False  # before its first step: it leaves no folder
        self.unsaved = False  # since the latest checkpoint, of this step:
        self.saved_step = 0
        self.began = time.perf_counter()

    def start(self, resume: bool) -> None:
        """Makes the folder with a checkpoint of step 0, or restores the latest one."""
        self.new = not resume
        recorded: list[Episode] = []
        if self.new:
            recorded = self._take_over()
            with run_folder.made_whole(self.run_dir) as draft:
                trained.save_config(self.config, draft)
                self.replay = self._open_replay(draft, resume=False)
                if recorded:
                    fill(self.replay, self.learner, recorded, self.agent.spec)
                self.write(draft)
            filled = self.replay.state()
        self.replay = self._open_replay(self.run_dir, resume=True)
        if resume:
            self._restore()
            if self.lengthened:
                self._lengthen()
        else:
            self.replay.restore(filled)

    def _lengthen(self) -> None:
        """Makes it a run of more steps, which has no result yet: a later resume knows of them."""
        (self.run_dir / "result.json").unlink(missing_ok=True)
        trained.save_config(self.config, self.run_dir)
        self.began = time.perf_counter() - self.clock["total"]
        self.write(self.run_dir)

    def _take_over(self) -> list[Episode]:
        """Weights of another run, and recorded episodes, that this run is to start with."""
        c, spec = self.config, self.agent.spec
        if c.start_from is not None:
            restore.take_over(c.start_from, self.config, self.agent, self.learner)
        if c.data is None:
            return []
        episodes, recorded = read_data(c.data, spec.action)
        check_data(episodes, spec)
        if recorded is not None:
            recorded.check_same(spec, of="the data set")
        if c.replay.capacity is None:  # a resumed run does not read them again
            rows = sum(len(e.observation) for e in episodes)
            larger = c.replay.model_copy(update={"capacity": rows + self._capacity})
            self.config = c.model_copy(update={"replay": larger})
        return episodes

    @property
    def _capacity(self) -> int:
        """Rows: all that a run of one environment has, even if each decision ends an episode.

        Of several collectors each has twice its even share; one that is much faster loses its
        oldest rows.
        """
        c = self.config
        return c.replay.capacity or 2 * c.steps + 2 * c.streams

    def seconds(self) -> float:
        """Training time, with the time before a resume."""
        return time.perf_counter() - self.began

    @property
    def over(self) -> bool:
        """Whether nothing is left to do but the final evaluation, or a signal has come."""
        owed = self.updates_due >= 1 or self.evaluation_due
        made = self.step >= self.config.steps and not owed
        return made or self.stop is not None or self.signals.received is not None

    def rescue(self, error: BaseException) -> None:
        """Saves up to the last whole step, where an error leaves one; notes how to go on."""
        elsewhere = foreign.origin(error) is not None
        if self.new and not self.step and not isinstance(error, KeyboardInterrupt):
            self.refused = True  # nothing is lost, and the name will be free again
            return
        whole = self.unsaved and not self.signals.twice  # else an update may be half made
        if whole and (elsewhere or isinstance(error, KeyboardInterrupt | EnvironmentFault)):
            try:
                self.write(self.run_dir)
            except (OSError, FloatingPointError) as fault:
                error.add_note(f"it could not be saved: {fault}")
        diverged = isinstance(error, FloatingPointError) and not elsewhere
        error.add_note(
            f"the run is saved up to step {self.saved_step:,}"
            + (", and diverges again if it is resumed" if diverged else "")
            + f"; resume by: {self._how_to_resume()}"
        )

    def _how_to_resume(self) -> str:
        if is_given(self.config.env.id):
            return f"worldplan.train(FUNCTION, resume={str(self.run_dir)!r})"
        return f"worldplan train --resume {self.run_dir}"

    def end(self) -> None:
        """Ends the listeners, and removes the folder of a run that was refused."""
        try:
            self.listeners.on_end()  # they may still have files to write
        finally:
            if self.refused:
                run_folder.discard(self.run_dir)

    def write(self, folder: Path) -> Path:
        """Saves everything that the next step depends on, between episodes."""
        self.check_finite()
        if self.step:
            self.clock["total"] = self.seconds()
        if self.replay.transitions:
            self.measure_steps()
        learner, optimizer = restore.learner_state(self.learner)
        tensors = self.agent.weights() | learner
        tensors["random.acting"] = self.acting.get_state()
        tensors["random.learning"] = self.learning.get_state()
        state = {
            **trained.identity(self.config, self.agent.spec),
            "optimizer": optimizer,
            "sampling": checkpoint.rng_state(self.sampling),
            "replay": self.replay.state(),
            "counters": {
                "step": self.step, "episode": self.episode, "updates": self.learner.updates,
                "debt": self.updates_due, "evaluation_due": self.evaluation_due,
            },
            "stop": self.stop,
            "clock": self.clock,
            "curves": {name: mark(self.run_dir / name) for name in CURVES} if self.step else {},
        }  # fmt: skip
        self.replay.flush()
        path = checkpoint.save(folder, self.step, tensors, state)
        self.saved_step, self.unsaved = self.step, False
        return path

    def _restore(self) -> None:
        """Inverse of `write`."""
        found = checkpoint.find(self.run_dir)
        with reading(found):
            tensors, state = checkpoint.read(found)
            self._set(tensors, state)
            self.check_finite()
        curves = state.get("curves")  # checkpoints from before there were marks have none
        for name, where in curves.items() if isinstance(curves, dict) else ():
            if name in CURVES and not cut_back(self.run_dir / name, where):
                warnings.warn(
                    f"{self.run_dir / name} was changed or lost after the checkpoint was written; "
                    "the run goes on as it would have, but this file is not that of the whole run",
                    stacklevel=2,
                )

    def _set(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        restore.read_spec(state, self.config).check_same(self.agent.spec)
        restore.load_weights(self.agent, tensors)
        restore.load_learner_state(self.learner, tensors, state["optimizer"])
        self.acting.set_state(tensors["random.acting"])
        self.learning.set_state(tensors["random.learning"])
        checkpoint.set_rng_state(self.sampling, state["sampling"])
        self.replay.restore(state["replay"])
        whole, real = ("step", "episode", "updates"), ("debt",)
        counters = restore.read_counters(state["counters"], whole, real)
        self.step = self.saved_step = counters["step"]
        self.episode, self.updates_due = counters["episode"], counters["debt"]
        c = self.config
        most = c.updates_per_step * (c.seed_steps + c.num_envs) + 1
        if self.step > c.steps + c.num_envs or self.updates_due > most:
            raise ValueError(
                f"expected at most {c.steps:,} steps and {most:,.0f} updates that are due, got "
                f"{self.step:,} and {self.updates_due:,.0f}"
            )
        self.lengthened = c.steps > restore.read_config(state).steps
        self.learner.updates = counters["updates"]
        # Formats 1 and 2 have neither of these.
        self.evaluation_due = state["counters"].get("evaluation_due") is True
        known = isinstance(state.get("stop"), str) and not self.lengthened
        self.stop = state["stop"] if known else None
        self.clock = restore.read_counters(state["clock"], real=self.clock)

    def _open_replay(self, folder: Path, *, resume: bool) -> Replay:
        c = self.config
        # So that the checkpoint before the latest one still has its rows: an episode takes one
        # more than its decisions, and may have one alone.
        # Of collectors one may be faster than all others.
        between = 2 * ((c.checkpoint_interval + self.patience) // c.num_envs + 2)
        return Replay(
            folder / "replay",
            self.agent.spec,
            c.streams,
            capacity=self._capacity,
            slack=2 * between,
            recency=c.replay.recency,
            resume=resume,
        )
