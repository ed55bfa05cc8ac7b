"""The training loop: act, store, update; now and then evaluate and checkpoint.

Shapes: B environments, D observation, A action.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from worldplan.agent.acting.collect import store
from worldplan.agent.acting.rollout import Reset, Step
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.atomic import write_json
from worldplan.agent.data.seeds import training_seed
from worldplan.agent.evaluation.evaluate import NO_LIMIT, Evaluation
from worldplan.agent.evaluation.shown import shown
from worldplan.agent.training.collectors.crew import Crew
from worldplan.agent.training.collectors.player import Here, Player, explorer, longest_episode
from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.disk import run_folder
from worldplan.agent.training.events import (
    CheckpointEvent,
    EpisodeEvent,
    Listener,
    StepEvent,
    UpdateEvent,
)
from worldplan.agent.training.held_out import HeldOut
from worldplan.agent.training.listeners.best import BestAgent
from worldplan.agent.training.listeners.curves import CurveFiles
from worldplan.agent.training.listeners.films import Films
from worldplan.agent.training.listeners.loggers import LOGGERS
from worldplan.agent.training.listeners.progress import ProgressLine
from worldplan.agent.training.listeners.tensorboard import TensorBoard
from worldplan.agent.training.resumable import Resumable
from worldplan.envs import make_vector

_MANY = 50  # updates at once, which take longer than a step
# Seconds that a decision lasts: so few that one action changes little; in the presets, at least.
_SHORT, _USUAL = 0.015, 0.03


class Trainer(Resumable):
    """One training run. `resume` continues it from the latest checkpoint of its folder.

    In addition to the given listeners there are a progress line, CSV files, TensorBoard, and one
    that keeps the best agent.

    Raises:
        BlockingIOError: another process works on this run.
        FileExistsError: without `resume`, the folder holds a run.
        ValueError: the environment, or a setting, with which it could not train.
    """

    def __init__(
        self,
        config: RunConfig,
        run_dir: Path,
        console: Console,
        *,
        resume: bool = False,
        listeners: Iterable[Listener] = (),
    ) -> None:
        if resume:
            run_folder.hold(run_dir)
        self.env = make_vector(config.env, config.num_envs)  # collectors have their own
        config.agent.learner.check(self.env.spec)
        own: list[Listener] = [CurveFiles(run_dir), BestAgent(), ProgressLine(console)]
        own += [Films(config.env)] if config.video else []  # before TensorBoard, which shows them
        own += [TensorBoard(run_dir)]
        own += [] if config.log == "files" else [LOGGERS[config.log]()]
        longest = self.env.max_episode_steps or NO_LIMIT
        super().__init__(config, run_dir, console, self.env.spec, [*own, *listeners], longest)
        self.held_out = HeldOut(config, self.agent)
        # Training begins with random actions, unless something is known.
        random = 0 if config.start_from else config.seed_steps
        self.actor = explorer(self.agent, lambda: self.step < random)
        who = self.actor, self.env, self._seeds(), self.acting
        self.player: Player = Here(*who, longest_episode(config, self.env))
        if config.collectors:
            updates, warn = (lambda: self.learner.updates), self.listeners.on_warning
            self.player = Crew(self.agent, updates, self.actor.first_acts, self._number, warn)
        self.returns = np.zeros(config.streams)  # of the episodes under way
        self.lengths = np.zeros(config.streams, np.int64)
        self.result: Evaluation | None = None
        self.start(resume)
        if self.step and (curve := run_dir / "curve.csv").is_file():
            self.held_out.recall(read_curve(curve))
        size = sum(p.numel() for p in self.learner.parameters)
        disk = f"{self.replay.nbytes / 2**20:,.1f} MiB on disk in {run_dir / 'replay'}"
        console.print(f"{size:,} parameters; replay: at most {disk}", markup=False)
        if self.env.max_episode_steps is None:
            console.print(
                f"{config.env.id} has no time limit: held-out episodes are cut after "
                f"{self.held_out.longest:,} decisions (eval_max_steps), others at a checkpoint"
            )
        frame, repeat = self.env.seconds_per_frame, config.env.action_repeat
        if frame is not None and frame * repeat < _SHORT:
            console.print(
                f"a decision lasts {1000 * frame * repeat:g} ms, in which actions change little: "
                f"env.action_repeat={math.ceil(_USUAL / frame)} may learn much faster"
            )

    def run(self) -> Evaluation:
        """Trains until the task is solved, `stop` is set, or all steps are made; then evaluates.

        An error has a note that says up to which step the run is saved. It is saved up to the last
        whole step if the error is not one of this package's own.

        Raises:
            EnvironmentFault: the simulator failed.
            FloatingPointError: training diverged; the last checkpoint is from before.
            KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP was received.
        """
        self.began = time.perf_counter() - self.clock["total"]
        with run_folder.held(self.run_dir), self.signals, self.takeover, ExitStack() as ends:
            # From the last to the first, each of them whatever another one raises.
            for close in (self.end, self.held_out.env.close, self.env.close, self.player.close):
                ends.callback(close)  # environments have processes, if there are some
            try:
                self.listeners.on_start(self)
                with self.busy("waits for collectors"), self.signals.interruptible():
                    self.player.start()
                self.takeover.reach(self.step)
                while not self.over:
                    self._collect()
                self.clock["total"] = self.seconds()
                return self._finish()
            except BaseException as error:  # SystemExit too: an environment may call sys.exit
                self.rescue(error)
                raise

    def _collect(self) -> None:
        """Plays episodes in all environments, to a checkpoint or the end."""
        c = self.config
        due_since: int | None = None  # step from which on a checkpoint waits for an episode's end
        self.unsaved = True
        self._pay()  # what a signal or an error prevented before the run was resumed
        if self.over:
            return self._save()
        for event in self._play():
            store(self.replay, event)
            if isinstance(event, Reset):
                self.learner.observe(torch.from_numpy(event.observation[event.mask]))
                self.returns[event.mask] = self.lengths[event.mask] = 0
                continue
            self.learner.observe(torch.from_numpy(event.observation[event.active]))
            outcome = event.reward[event.active], event.terminated[event.active]
            self.learner.observe_rewards(*map(torch.from_numpy, outcome))
            before = self.step
            self._count(event)  # from here on the step is whole: a resumed run has it
            self.takeover.reach(self.step)  # before the updates of this step, as after a resume
            metrics = self._update()
            self.returns += event.reward
            self.lengths += event.active
            for i in np.flatnonzero(event.done):
                ended = EpisodeEvent(self.step, float(self.returns[i]), int(self.lengths[i]))
                self.listeners.on_episode(ended)
            if metrics and self._due(before, c.log_interval):
                self._log(metrics)
            if self.evaluation_due and not self.signals.received:
                self._evaluate()
            self.listeners.on_step(StepEvent(self.step, self.step / self.seconds()))

            if self._due(before, c.checkpoint_interval) and due_since is None:
                due_since = self.step
            late = due_since is not None and self.step - due_since >= self.patience
            if self.over or late or (due_since is not None and self.player.pauses(event)):
                return self._save()

    def _play(self) -> Iterator[Reset | Step]:
        """Episodes without end. A signal is not waited for: an environment may hang."""
        events = self.player.events()
        while True:
            try:
                with self.signals.interruptible():
                    event = next(events)
            except FloatingPointError:  # no plan has a finite cost
                self.check_finite()  # which says more
                raise
            yield event

    def _seeds(self) -> Iterator[int]:
        """Seeds of the next episodes; each depends on the episode's number alone."""
        while True:
            yield training_seed(self.config.seed, self._number())

    def _number(self) -> int:
        """Of the next episode, or collector: no other one's in this run."""
        self.episode += 1
        return self.episode - 1

    def _count(self, event: Step) -> None:
        """Counts a step, and what is due after it."""
        c, before = self.config, self.step
        steps = int(event.active.sum())
        self.step += steps
        self.clock["act"] += event.act_seconds
        self.clock["env"] += event.env_seconds
        if self.step >= c.seed_steps:  # updates for the random start come when it ends
            first = self.learner.updates == 0 and self.updates_due == 0
            self.updates_due += c.updates_per_step * (c.seed_steps if first else steps)
        self.evaluation_due |= self.step > c.seed_steps and self._due(before, c.eval_interval)

    def _pay(self) -> None:
        """Makes the updates and the evaluation that are due."""
        self._update()
        if self.evaluation_due and not self.signals.received:
            self._evaluate()

    def _update(self) -> dict[str, Tensor]:
        """Makes the gradient updates that are due, until a signal comes."""
        began = time.perf_counter()
        metrics: dict[str, Tensor] = {}
        while self.updates_due >= 1 and not self.signals.received:
            if self.updates_due >= _MANY:
                self.doing = (
                    f"learning from the random start: {self.updates_due:,.0f} updates to go"
                )
            metrics = self.update()
            self.updates_due -= 1
        self.doing = ""
        self.clock["update"] += time.perf_counter() - began
        return metrics

    def _due(self, before: int, interval: int) -> bool:
        return before // interval != self.step // interval

    def _log(self, metrics: dict[str, Tensor]) -> None:
        """Sends losses, diagnostics and times to the listeners."""
        self.check_finite()
        measures, bands = self.diagnose(self.step)
        decisions = max(1, self.step - self.config.seed_steps)
        times = {f"{k}_ms": 1e3 * self.clock[k] / decisions for k in ("act", "update", "env")}
        times["steps_per_second"] = self.step / self.seconds()
        losses = {k: float(v) for k, v in metrics.items()}
        groups = {"loss": losses, "model": measures, "calibration": bands, "time": times}
        groups["collectors"] = dict(self.player.measures())
        self.listeners.on_update(UpdateEvent(self.step, groups))

    def _evaluate(self) -> None:
        """Evaluates: one row of the learning curve."""
        c = self.config
        began = time.perf_counter()
        # Left without a row by a signal; a resumed run evaluates again.
        with self.signals.interruptible(), self.busy(f"evaluates on {_episodes(c.eval_episodes)}"):
            heads = self.diagnose_heads(self.step) if self.agent.has_policy else {}
            event = self.held_out.evaluate(self.step, heads)
            least = float(event.planner.returns.min())
            solved = c.solved is not None and least >= c.solved and self._confirm(c.solved)
        self.evaluation_due = False
        self.stop = "solved" if solved else self.stop
        self.clock["evaluate"] += time.perf_counter() - began
        self.held_out.warn(event, self.listeners.on_warning)
        self.listeners.on_evaluation(event)

    def _confirm(self, goal: float) -> bool:
        """Whether more episodes return the goal, each of them: a few may by chance."""
        with self.busy(f"seems solved: confirms it on {_episodes(self.config.final_episodes)}"):
            self.result = self.held_out.final()
        returns = self.result.returns
        if returns.min() >= goal:
            return True
        self.console.print(
            f"not solved yet: of {len(returns)} held-out episodes one returns "
            f"{shown(float(returns.min()))}, expected {shown(goal)} of each"
        )
        return False

    def _finish(self) -> Evaluation:
        """Makes the final evaluation, on more episodes, and writes `result.json`."""
        c = self.config
        with self.signals.interruptible(), self.busy(f"evaluates on {_episodes(c.final_episodes)}"):
            result = self.result if self.stop == "solved" else None
            result = result or self.held_out.final()
        times = {f"{name}_seconds": round(spent, 1) for name, spent in self.clock.items()}
        report = {
            "task": c.task, "seed": c.seed, "step": self.step,
            "frames": self.step * c.env.action_repeat, "solved": self.stop == "solved",
            **result.summary(), **times,
        }  # fmt: skip
        write_json(self.run_dir / "result.json", report)
        return result

    def _save(self) -> None:
        path = self.write(self.run_dir)
        self.listeners.on_checkpoint(CheckpointEvent(self.step, path))


def _episodes(count: int) -> str:
    return f"{count:,} held-out episode{'s' if count > 1 else ''}"
