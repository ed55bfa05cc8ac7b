"""What online and offline training share: agent, learner, replay, random numbers, listeners."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from worldplan.agent.agent import Agent
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.replay import Batch, Replay
from worldplan.agent.evaluation.calibration import band_coverage
from worldplan.agent.evaluation.diagnostics import collapse_warning, diagnose
from worldplan.agent.learning.compiling import resolve
from worldplan.agent.training.events import Listener, Listeners
from worldplan.envs import EnvironmentSpec


class Training:
    """An agent and what trains it, for environments with a spec.

    Raises:
        ValueError: the family of world models learns nothing.
    """

    replay: Replay  # its maker knows how large

    def __init__(
        self,
        config: RunConfig,
        run_dir: Path,
        console: Console,
        spec: EnvironmentSpec,
        listeners: Iterable[Listener],
    ) -> None:
        model = config.agent.model
        if not model.learns:
            raise ValueError(
                f"model.kind={model.kind} learns nothing; expected: "
                f"worldplan evaluate {config.task} model.kind={model.kind}"
            )
        self.config, self.run_dir, self.console = config, run_dir, console
        if config.threads:
            torch.set_num_threads(config.threads)
        execution, note = resolve(
            config.compile, config.update_precision, config.plan_precision, config.device
        )
        console.print(note)
        torch.manual_seed(config.seed)
        self.agent = Agent(config.agent, spec, execution)
        self.learner = self.agent.make_learner()
        # Streams of their own, so that acting and learning do not shift each other's numbers.
        self.learning = self.agent.generator(self.learning_seed(config.seed))
        self.sampling = np.random.default_rng(config.seed)
        self.listeners = Listeners(listeners)
        self.step = 0
        self.stop: str | None = None
        self.collapsed = False

    @staticmethod
    def learning_seed(seed: int) -> int:
        """Of the noise in updates, in a run with this seed."""
        return seed + 1

    @property
    def past(self) -> int:
        """Steps before a window that are filtered into the state."""
        return self.agent.model.context - 1

    def update(self) -> dict[str, Tensor]:
        """One gradient update on windows from the replay; its metrics, still as tensors."""
        c = self.config.agent.learner
        batch = self.replay.sample(self.sampling, c.batch_size, self.past, c.horizon)
        return self.learner.update(batch, self.learning)

    def look(self, number: int) -> tuple[Batch, torch.Generator]:
        """Windows of one step to measure the model on, and random numbers for it.

        Both are a function of `number`: looking does not change the run.
        """
        batch = self.replay.sample(np.random.default_rng(number), 512, self.past, 1)
        return batch.to(self.agent.device), self.agent.generator(number)

    def diagnose(self, number: int) -> tuple[dict[str, float], dict[str, float]]:
        """Measures of the model, see `diagnose`, and how well z's bands are calibrated.

        Warns once when embeddings collapse.
        """
        batch, generator = self.look(number)
        measures = diagnose(self.agent.model, batch, generator)
        bands = {}
        if self.agent.model.latent_dim:
            bands = band_coverage(self.agent.model, batch, self.agent.generator(number))
        warning = None
        if self.learner.model.can_collapse:
            warning = collapse_warning(measures, self.agent.spec.observation.size)
        if warning and not self.collapsed:
            self.listeners.on_warning(warning)
        self.collapsed = warning is not None
        return measures, bands
