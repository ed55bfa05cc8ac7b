"""The training loop: act, store, update; now and then evaluate and checkpoint.

Shapes: B environments, D observation, A action.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from worldplan.agent.agent import Actor, Agent
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.replay import Replay
from worldplan.agent.data.seeds import held_out_seeds, training_seed
from worldplan.agent.evaluation.calibration import band_coverage, optimism_by_horizon
from worldplan.agent.evaluation.diagnostics import collapse_warning, diagnose
from worldplan.agent.evaluation.evaluate import Evaluation, evaluate
from worldplan.agent.evaluation.film import film_episode
from worldplan.agent.evaluation.statistics import summary
from worldplan.agent.learning.compiling import resolve
from worldplan.agent.models.simulator import simulator_of
from worldplan.agent.training import checkpoint, restore
from worldplan.agent.training.record import Record, write_json
from worldplan.agent.training.signals import heard
from worldplan.envs import EnvironmentFault, make_vector


class Trainer:
    """One run: everything it needs, and the loop. `resume` continues a run folder's checkpoint."""

    def __init__(
        self, config: RunConfig, run_dir: Path, console: Console, *, resume: bool = False
    ) -> None:
        self.config, self.run_dir, self.console = config, run_dir, console
        if config.threads:
            torch.set_num_threads(config.threads)
        execution, note = resolve(config.compile, config.update_precision, config.plan_precision)
        console.print(note)
        self.env = make_vector(config.env, config.num_envs)
        self.eval_env = make_vector(config.env, config.eval_episodes)
        torch.manual_seed(config.seed)
        sizes = self.env.observation_dim, self.env.action_dim
        simulator = simulator_of(config.agent.model, config.env)
        self.agent = Agent(config.agent, *sizes, execution, simulator)
        # Streams of their own, so that acting and learning do not shift each other's luck.
        self.acting = torch.Generator().manual_seed(config.seed)
        self.learning = torch.Generator().manual_seed(config.seed + 1)
        self.sampling = np.random.default_rng(config.seed)
        self.step = self.episode = self.updates = 0
        self.debt = 0.0  # updates owed
        self.clock = {"act": 0.0, "update": 0.0, "env": 0.0, "evaluate": 0.0, "total": 0.0}
        capacity = config.replay.capacity or 2 * config.steps + 2 * config.num_envs
        self.replay = Replay(
            run_dir / "replay",
            config.num_envs,
            *sizes,
            capacity=capacity,
            slack=2 * config.checkpoint_interval if config.replay.capacity else 0,
            resume=resume,
        )
        if resume:
            self._restore()
        else:
            restore.save_config(config, run_dir)
            self._save()  # a kill before the first episodes are over finds this one
        size = sum(p.numel() for p in self.agent.learner.parameters) if self.agent.learns else 0
        disk = f"{self.replay.nbytes / 2**20:,.1f} MiB on disk in {run_dir / 'replay'}"
        console.print(f"{size:,} parameters; replay: at most {disk}")
        self.stop: str | None = None
        self.collapsed = False
        self.result: Evaluation | None = None

    def run(self) -> Evaluation:
        """Trains until solved, told to stop, or out of steps; then evaluates and says where all is.

        Raises:
            EnvironmentFault: the simulator failed; all up to its last good step is saved.
        """
        c = self.config
        resumed = self.step if self.step else None
        began = time.perf_counter() - self.clock["total"]
        with Record(self.run_dir, c.steps, self.console, resumed) as record, heard(self._stop):
            record.settings(restore.config_json(c))
            while self.step < c.steps and self.stop is None:
                try:
                    self._collect(record, began)
                except EnvironmentFault:
                    self._save()
                    raise
        self.clock["total"] = time.perf_counter() - began
        if self.stop in ("SIGINT", "SIGTERM"):
            raise KeyboardInterrupt
        return self._finish()

    def _collect(self, record: Record, began: float) -> None:
        """Episodes of all environments, from a common start to a checkpoint or the end."""
        c, batch = self.config, self.config.num_envs
        observation = self._begin(np.ones(batch, np.bool_), None)
        state = self.agent.initial(batch)
        returns, lengths = np.zeros(batch), np.zeros(batch, np.int64)
        checkpoint_due = False
        while True:
            t0 = time.perf_counter()
            seen = torch.from_numpy(observation)
            # A random start is there to learn from.
            blind = self.agent.learns and self.step < c.seed_steps
            actor: Actor = "random" if blind else "planner"
            action, state, _ = self.agent.step(seen, state, self.acting, explore=True, actor=actor)
            t1 = time.perf_counter()
            observation, reward, terminated, truncated = self.env.step(action.numpy())
            done = terminated | truncated
            for i in range(batch):
                self.replay.add(
                    i, action[i].numpy(), reward[i], terminated[i], truncated[i], observation[i]
                )
            self._notice(observation)
            returns += reward
            lengths += 1
            t2 = time.perf_counter()
            metrics = self._update()
            t3 = time.perf_counter()
            before, self.step = self.step, self.step + batch
            for name, spent in (("act", t1 - t0), ("env", t2 - t1), ("update", t3 - t2)):
                self.clock[name] += spent

            for ended in np.flatnonzero(done):
                record.episode(self.step, returns[ended], lengths[ended])
                returns[ended], lengths[ended] = 0, 0
            if metrics and self._due(before, c.log_interval):
                self._log(record, metrics, time.perf_counter() - began)
            started = not self.agent.learns or self.step > c.seed_steps
            if started and self._due(before, c.eval_interval):
                self._evaluate(record)
            record.advance(self.step, speed=f"{self.step / (time.perf_counter() - began):.0f}/s")

            checkpoint_due |= self._due(before, c.checkpoint_interval)
            over = self.stop is not None or self.step >= c.steps
            # Checkpoints fall between episodes, so that nothing of the simulator need be saved.
            # Those of other environments still under way are cut short there, as truncated.
            if over or (checkpoint_due and done[0]):
                self.clock["total"] = time.perf_counter() - began
                self._save()
                return
            if done.any():
                observation = self._begin(done, observation)
                state = state.reset(torch.from_numpy(done))

    def _update(self) -> dict[str, torch.Tensor]:
        """Gradient updates owed; the random start is paid for at once when it ends."""
        c = self.config
        if not self.agent.learns or self.step + c.num_envs < c.seed_steps:
            return {}
        first = self.updates == 0 and self.debt == 0
        self.debt += c.updates_per_step * (c.seed_steps if first else c.num_envs)
        metrics: dict[str, torch.Tensor] = {}
        past = self.agent.model.context - 1
        for _ in range(int(self.debt)):
            batch = self.replay.sample(
                self.sampling, c.agent.learner.batch, past, c.agent.learner.horizon
            )
            metrics = self.agent.update(batch, self.learning, self.updates)
            self.updates += 1
        self.debt -= int(self.debt)
        return metrics

    def _begin(self, mask: np.ndarray[Any, Any], observation: Any) -> Any:
        """Resets the environments in mask, each with the seed of its episode's number."""
        seeds = [0] * self.config.num_envs
        for i in np.flatnonzero(mask):
            seeds[i] = training_seed(self.config.seed, self.episode)
            self.episode += 1
        observation = self.env.reset(seeds, mask)
        goals = self.env.goals()
        if goals is not None:
            self.agent.aim(goals)
        for i in np.flatnonzero(mask):
            self.replay.begin(int(i), observation[i])
        self._notice(observation[mask])
        return observation

    def _notice(self, observation: NDArray[np.float32]) -> None:
        """Observations as they come (B, D), for their scale."""
        if self.agent.learns:
            self.agent.learner.model.normaliser.update(torch.from_numpy(observation))

    def _due(self, before: int, interval: int) -> bool:
        return before // interval != self.step // interval

    def _log(self, record: Record, metrics: dict[str, torch.Tensor], seconds: float) -> None:
        """Losses, diagnostics and times, to TensorBoard."""
        c = self.config
        record.scalars("loss", {k: float(v) for k, v in metrics.items()}, self.step)
        # A stream of its own: looking does not change the run.
        rng = np.random.default_rng(self.step)
        batch = self.replay.sample(rng, 512, self.agent.model.context - 1, 1)
        measures = diagnose(self.agent.model, batch, torch.Generator().manual_seed(self.step))
        record.scalars("model", measures, self.step)
        if self.agent.model.latent_dim:
            luck = torch.Generator().manual_seed(self.step)
            bands = band_coverage(self.agent.model, batch, luck)
            record.scalars("calibration", bands, self.step)
        warning = collapse_warning(measures, self.env.observation_dim)
        if warning and self.agent.learner.model.can_collapse and not self.collapsed:
            record.say(f"[yellow]warning: {warning}[/yellow]")
        self.collapsed = warning is not None
        decisions = max(1, self.step - c.seed_steps)
        times = {f"{k}_ms": 1e3 * self.clock[k] / decisions for k in ("act", "update", "env")}
        record.scalars("time", {**times, "steps_per_second": self.step / seconds}, self.step)

    def _evaluate(self, record: Record) -> None:
        """One row of the learning curve."""
        c = self.config
        began = time.perf_counter()
        seeds = held_out_seeds(c.eval_episodes)
        planner = evaluate(self.agent, self.eval_env, seeds)
        policy = None
        if self.agent.learns:
            policy = evaluate(self.agent, self.eval_env, seeds, "policy")
        self.clock["evaluate"] += time.perf_counter() - began
        record.evaluation(self.step, self.step * c.env.action_repeat, planner, policy)
        record.scalars("optimism", optimism_by_horizon(planner, c.agent.discount), self.step)
        if c.video:
            video = self.run_dir / f"step_{self.step:09d}.mp4"
            film_episode(self.agent, c.env, seeds[0], video)
            record.film(video, self.step)
        if c.solved is not None and planner.returns.min() >= c.solved:
            # A few good episodes may be luck; stop only if all of the final evaluation agree.
            self.result = self._final_evaluation()
            if self.result.returns.min() >= c.solved:
                self.stop = "solved"

    def _final_evaluation(self) -> Evaluation:
        env = make_vector(self.config.env, self.config.final_episodes)
        result = evaluate(self.agent, env, held_out_seeds(self.config.final_episodes))
        env.close()
        return result

    def _finish(self) -> Evaluation:
        """The last evaluation, on more episodes; `result.json`."""
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

    def _stop(self, signal: str) -> None:
        """Lets the step finish first."""
        self.stop = signal

    def _save(self) -> None:
        """Everything that the next step depends on; episodes must be over."""
        tensors, optimizer = restore.weights(self.agent), None
        if self.agent.learns:
            learnt, optimizer = restore.learning(self.agent.learner)
            tensors |= learnt
        tensors |= {
            "random.acting": self.acting.get_state(),
            "random.learning": self.learning.get_state(),
        }
        state = {
            "config": restore.config_json(self.config),
            "observation_dim": self.env.observation_dim,
            "action_dim": self.env.action_dim,
            "optimizer": optimizer,
            "sampling": checkpoint.rng_state(self.sampling),
            "replay": self.replay.state(),
            "counters": {
                "step": self.step, "episode": self.episode, "updates": self.updates,
                "debt": self.debt,
            },
            "clock": self.clock,
        }  # fmt: skip
        self.replay.flush()
        checkpoint.save(self.run_dir, self.step, tensors, state)

    def _restore(self) -> None:
        """Inverse of `_save`."""
        tensors, state = checkpoint.read(checkpoint.find(self.run_dir))
        restore.load_weights(self.agent, tensors)
        if self.agent.learns:
            restore.load_learning(self.agent.learner, tensors, state["optimizer"])
        self.acting.set_state(tensors["random.acting"])
        self.learning.set_state(tensors["random.learning"])
        checkpoint.set_rng_state(self.sampling, state["sampling"])
        self.replay.restore(state["replay"])
        for name, value in state["counters"].items():
            setattr(self, name, value)
        self.clock = state["clock"]
