"""The training loop: act, store, update; now and then evaluate and checkpoint.

Shapes: B environments, D observation, A action.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from worldplan.agent.acting.actors import Switch
from worldplan.agent.acting.collect import store
from worldplan.agent.acting.rollout import Reset, rollout
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.replay import Replay
from worldplan.agent.data.seeds import held_out_seeds, training_seed
from worldplan.agent.evaluation.calibration import optimism_by_horizon
from worldplan.agent.evaluation.diagnostics import PolicyLag
from worldplan.agent.evaluation.evaluate import Evaluation, evaluate
from worldplan.agent.evaluation.statistics import summary
from worldplan.agent.training import checkpoint, restore
from worldplan.agent.training.atomic import write_json
from worldplan.agent.training.base import Training
from worldplan.agent.training.events import (
    CheckpointEvent,
    EpisodeEvent,
    EvaluationEvent,
    Listener,
    StepEvent,
    UpdateEvent,
)
from worldplan.agent.training.listeners.curves import CurveFiles
from worldplan.agent.training.listeners.films import Films
from worldplan.agent.training.listeners.progress import ProgressLine
from worldplan.agent.training.listeners.tensorboard import TensorBoard
from worldplan.envs import EnvironmentFault, make_vector


class Trainer(Training):
    """One training run. `resume` continues it from the latest checkpoint of its folder.

    In addition to the given listeners there are a progress line, CSV files and TensorBoard.
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
        self.env = make_vector(config.env, config.num_envs)
        self.eval_env = make_vector(config.env, config.eval_episodes)
        own: list[Listener] = [CurveFiles(run_dir), ProgressLine(console)]
        own += [Films(config.env)] if config.video else []  # before TensorBoard, which shows them
        own += [TensorBoard(run_dir)]
        super().__init__(config, run_dir, console, self.env.spec, [*own, *listeners])
        self.acting = self.agent.generator(config.seed)
        # Training begins with random actions.
        self.actor = Switch(
            self.agent.actor("random", explore=True),
            self.agent.actor("planner", explore=True),
            lambda: self.step < config.seed_steps,
        )
        self.episode = 0  # number of the next one
        self.updates_due = 0.0
        self.clock = {"act": 0.0, "update": 0.0, "env": 0.0, "evaluate": 0.0, "total": 0.0}
        capacity = config.replay.capacity
        self.replay = Replay(
            run_dir / "replay",
            self.env.spec,
            config.num_envs,
            capacity=capacity or 2 * config.steps + 2 * config.num_envs,
            slack=2 * config.checkpoint_interval if capacity else 0,
            resume=resume,
        )
        if resume:
            self._restore()
        else:
            restore.save_config(config, run_dir)
            self._save()  # so that a run killed in its first episode can be resumed
        self.began = time.perf_counter() - self.clock["total"]
        size = sum(p.numel() for p in self.learner.parameters)
        disk = f"{self.replay.nbytes / 2**20:,.1f} MiB on disk in {run_dir / 'replay'}"
        console.print(f"{size:,} parameters; replay: at most {disk}", markup=False)
        self.result: Evaluation | None = None
        self.lag = PolicyLag(after=config.steps / 2)

    def run(self) -> Evaluation:
        """Trains until the task is solved, `stop` is set, or all steps are made; then evaluates.

        Raises:
            EnvironmentFault: the simulator failed; the run is saved up to its last good step.
            KeyboardInterrupt: SIGINT or SIGTERM was received; the run is saved.
        """
        self.began = time.perf_counter() - self.clock["total"]
        with _on_signal(self._stop):
            self.listeners.on_start(self)
            try:
                while self.step < self.config.steps and self.stop is None:
                    self._collect()
            except EnvironmentFault:
                self._save()
                raise
            finally:
                self.listeners.on_end()
        self.clock["total"] = time.perf_counter() - self.began
        if self.stop in ("SIGINT", "SIGTERM"):
            raise KeyboardInterrupt
        return self._finish()

    def _collect(self) -> None:
        """Plays episodes in all environments, from a common reset to a checkpoint or the end."""
        c, batch = self.config, self.config.num_envs
        returns, lengths = np.zeros(batch), np.zeros(batch, np.int64)
        checkpoint_due = False
        for event in rollout(self.actor, self.env, self._seeds(), self.acting, again=True):
            store(self.replay, event)
            if isinstance(event, Reset):
                self.learner.observe(torch.from_numpy(event.observation[event.mask]))
                continue
            self.learner.observe(torch.from_numpy(event.observation))
            self.learner.observe_rewards(torch.from_numpy(event.reward))
            self.clock["act"] += event.act_seconds
            self.clock["env"] += event.env_seconds
            metrics = self._update()
            before, self.step = self.step, self.step + batch
            returns += event.reward
            lengths += 1
            for i in np.flatnonzero(event.done):
                ended = EpisodeEvent(self.step, float(returns[i]), int(lengths[i]))
                self.listeners.on_episode(ended)
                returns[i], lengths[i] = 0, 0
            if metrics and self._due(before, c.log_interval):
                self._log(metrics)
            if self.step > c.seed_steps and self._due(before, c.eval_interval):
                self._evaluate()
            self.listeners.on_step(StepEvent(self.step, self.step / self._seconds()))

            checkpoint_due |= self._due(before, c.checkpoint_interval)
            over = self.stop is not None or self.step >= c.steps
            # Checkpoints are between episodes, so that no state of the simulator has to be saved.
            # Unfinished episodes of the other environments are truncated there.
            if over or (checkpoint_due and event.done[0]):
                self._save()
                return

    def _seeds(self) -> Iterator[int]:
        """Seeds of the next episodes; each depends on the episode's number alone."""
        while True:
            self.episode += 1
            yield training_seed(self.config.seed, self.episode - 1)

    def _update(self) -> dict[str, Tensor]:
        """Makes the gradient updates that are due; those for the random start come when it ends."""
        c = self.config
        if self.step + c.num_envs < c.seed_steps:
            return {}
        began = time.perf_counter()
        first = self.learner.updates == 0 and self.updates_due == 0
        self.updates_due += c.updates_per_step * (c.seed_steps if first else c.num_envs)
        metrics: dict[str, Tensor] = {}
        for _ in range(int(self.updates_due)):
            metrics = self.update()
        self.updates_due -= int(self.updates_due)
        self.clock["update"] += time.perf_counter() - began
        return metrics

    def _due(self, before: int, interval: int) -> bool:
        return before // interval != self.step // interval

    def _seconds(self) -> float:
        """Training time, with the time before a resume."""
        return time.perf_counter() - self.began

    def _log(self, metrics: dict[str, Tensor]) -> None:
        """Sends losses, diagnostics and times to the listeners."""
        measures, bands = self.diagnose(self.step)
        decisions = max(1, self.step - self.config.seed_steps)
        times = {f"{k}_ms": 1e3 * self.clock[k] / decisions for k in ("act", "update", "env")}
        times["steps_per_second"] = self.step / self._seconds()
        losses = {k: float(v) for k, v in metrics.items()}
        groups = {"loss": losses, "model": measures, "calibration": bands, "time": times}
        self.listeners.on_update(UpdateEvent(self.step, groups))

    def _evaluate(self) -> None:
        """Evaluates: one row of the learning curve."""
        c = self.config
        began = time.perf_counter()
        seeds = held_out_seeds(c.eval_episodes)
        planner = evaluate(self.agent, self.eval_env, seeds)
        policy, of_heads = None, {}
        if self.agent.has_policy:
            policy = evaluate(self.agent, self.eval_env, seeds, "policy")
            of_heads = self.diagnose_heads(self.step)
            means = (float(e.returns.mean()) for e in (planner, policy))
            if warning := self.lag.notice(self.step, *means):
                self.listeners.on_warning(warning)
        self.clock["evaluate"] += time.perf_counter() - began
        optimism = optimism_by_horizon(planner, c.agent.discount)
        frames = self.step * c.env.action_repeat
        self.listeners.on_evaluation(
            EvaluationEvent(self.step, frames, planner, policy, optimism, of_heads)
        )
        if c.solved is not None and planner.returns.min() >= c.solved:
            # A few good episodes may be chance: the final evaluation must agree.
            self.result = self._final_evaluation()
            if self.result.returns.min() >= c.solved:
                self.stop = "solved"

    def _final_evaluation(self) -> Evaluation:
        env = make_vector(self.config.env, self.config.final_episodes)
        result = evaluate(self.agent, env, held_out_seeds(self.config.final_episodes))
        env.close()
        return result

    def _finish(self) -> Evaluation:
        """Makes the final evaluation, on more episodes, and writes `result.json`."""
        c = self.config
        result = self.result if self.stop == "solved" else self._final_evaluation()
        assert result is not None
        times = {f"{name}_seconds": round(spent, 1) for name, spent in self.clock.items()}
        report = {
            "task": c.task, "seed": c.seed, "step": self.step,
            "frames": self.step * c.env.action_repeat, "solved": self.stop == "solved",
            **summary(result.returns, result.seeds), **times,
        }  # fmt: skip
        write_json(self.run_dir / "result.json", report)
        return result

    def _stop(self, signal_name: str) -> None:
        """Ends the run after the current step."""
        self.stop = signal_name

    def _save(self) -> None:
        """Saves everything that the next step depends on, between episodes."""
        if self.step:
            self.clock["total"] = self._seconds()
        learner, optimizer = restore.learner_state(self.learner)
        tensors = self.agent.weights() | learner
        tensors["random.acting"] = self.acting.get_state()
        tensors["random.learning"] = self.learning.get_state()
        state = {
            **restore.identity(self.config, self.env.spec),
            "optimizer": optimizer,
            "sampling": checkpoint.rng_state(self.sampling),
            "replay": self.replay.state(),
            "counters": {
                "step": self.step, "episode": self.episode, "updates": self.learner.updates,
                "debt": self.updates_due,
            },
            "clock": self.clock,
        }  # fmt: skip
        self.replay.flush()
        path = checkpoint.save(self.run_dir, self.step, tensors, state)
        self.listeners.on_checkpoint(CheckpointEvent(self.step, path))

    def _restore(self) -> None:
        """Inverse of `_save`."""
        tensors, state = checkpoint.read(checkpoint.find(self.run_dir))
        restore.read_spec(state, self.config).check_same(self.env.spec)
        self.agent.load_weights(tensors)
        restore.load_learner_state(self.learner, tensors, state["optimizer"])
        self.acting.set_state(tensors["random.acting"])
        self.learning.set_state(tensors["random.learning"])
        checkpoint.set_rng_state(self.sampling, state["sampling"])
        self.replay.restore(state["replay"])
        whole, real = ("step", "episode", "updates"), ("debt",)
        counters = restore.read_counters(state["counters"], whole, real)
        self.step, self.episode, self.updates_due = (
            counters[k] for k in ("step", "episode", "debt")
        )
        self.learner.updates = counters["updates"]
        self.clock = restore.read_counters(state["clock"], real=self.clock)


@contextmanager
def _on_signal(stop: Callable[[str], None]) -> Iterator[None]:
    """Within it, SIGINT (Ctrl-C) and SIGTERM only call `stop` with the name of the signal."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop(signal.Signals(number).name)

    former = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
