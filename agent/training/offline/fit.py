"""A world model trained from a data set: of (x, a, x') alone, or of rewards too. Nothing acts.

Shapes: D observation, A action.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.dataset import Episode
from worldplan.agent.data.replay import Replay
from worldplan.agent.evaluation.ticking import Ticking
from worldplan.agent.training import checkpoint
from worldplan.agent.training.base import Training
from worldplan.agent.training.curve import Curve
from worldplan.agent.training.disk.run_folder import let_go, make
from worldplan.agent.training.events import CheckpointEvent, Listener, Run, UpdateEvent
from worldplan.agent.training.offline.recorded import check_data, fill, task_spec
from worldplan.agent.training.trained import TrainedAgent, identity, save_config
from worldplan.envs import EnvironmentSpec

TRIPLES_ALONE = ("learner.task_heads=false", "agent.proposals=0")  # where no reward is learned
_SHOWN = "consistency", "effective_rank", "model_error", "action_sensitivity"


def fit(
    config: RunConfig,
    episodes: list[Episode],
    run_dir: Path,
    updates: int,
    console: Console,
    recorded: EnvironmentSpec | None = None,
) -> TrainedAgent:
    """Trains an agent on episodes, and writes a checkpoint for `load`.

    With `TRIPLES_ALONE` it has learned no reward, and plans after `Agent.aim` or `Agent.minimise`.
    Else it learns reward, value and policy too, by the same losses as an agent that acts: nothing
    keeps the policy near the data, whose actions should be many. Ten rows of diagnostics are
    written to `fit.csv` in run_dir.

    Args:
        recorded: the spec of the environment in which the data set was recorded, if it is known.

    Raises:
        ValueError: observations or actions have other shapes than the task's, are not finite or
            out of range; there is no episode; or the environment differs from the recorded one.
        FloatingPointError: training diverged.
        BlockingIOError: another process works in run_dir.
    """
    return Fit(config, episodes, run_dir, updates, console, recorded).run()


class FitRecord(Listener):
    """Writes diagnostics to the terminal and to `fit.csv`."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_start(self, run: Run) -> None:
        self.curve = Curve(run.run_dir / "fit.csv")

    def on_update(self, event: UpdateEvent) -> None:
        row = {"step": event.step, **event.groups["loss"], **event.groups["model"]}
        self.curve.append(row)
        shown = "  ".join(f"{name} {row[name]:.3g}" for name in _SHOWN if name in row)
        self.console.print(f"{event.step:>7,}: {shown}")

    def on_warning(self, text: str) -> None:
        self.console.print(f"warning: {text}", style="yellow", markup=False)


class Fit(Training):
    """Offline training; `step` counts updates."""

    def __init__(
        self,
        config: RunConfig,
        episodes: list[Episode],
        run_dir: Path,
        updates: int,
        console: Console,
        recorded: EnvironmentSpec | None = None,
    ) -> None:
        spec = task_spec(config.env)
        check_data(episodes, spec)
        if recorded is not None:
            recorded.check_same(spec, of="the data set")
        make(run_dir)
        self.updates = updates
        super().__init__(config, run_dir, console, spec, [FitRecord(console)], updates)
        rows = sum(len(e.observation) for e in episodes)
        self.replay = Replay(run_dir / "replay", spec, 1, rows, slack=0)
        fill(self.replay, self.learner, episodes, spec)

    @staticmethod
    def learning_seed(seed: int) -> int:
        return seed

    def run(self) -> TrainedAgent:
        """Makes all gradient updates; returns the agent."""
        updates = self.updates
        self.listeners.on_start(self)
        with self.takeover, self._shown() as steps:
            for update in steps:
                self.takeover.reach(self.step)
                metrics = self.update()
                self.step += 1
                if self.step % max(1, updates // 10) and self.step < updates:
                    continue
                self.check_finite()
                measures, _ = self.diagnose(update)
                losses = {k: float(v) for k, v in metrics.items()}
                groups = {"loss": losses, "model": measures}
                self.listeners.on_update(UpdateEvent(self.step, groups))
        self.measure_steps()
        save_config(self.config, self.run_dir)
        state = identity(self.config, self.agent.spec)
        path = checkpoint.save(self.run_dir, updates, self.agent.weights(), state)
        self.listeners.on_checkpoint(CheckpointEvent(updates, path))
        self.listeners.on_end()
        let_go(self.run_dir)
        return self.agent

    @contextmanager
    def _shown(self) -> Iterator[Iterable[int]]:
        """Numbers of all updates; how far they have come is shown."""
        updates = range(self.updates)
        if self.console.is_interactive:
            with Progress(console=self.console) as progress:
                yield progress.track(updates, description="fitting")
            return
        with Ticking(lambda: self.console.print(f"{self.step:,} of {self.updates:,} updates")):
            yield updates
