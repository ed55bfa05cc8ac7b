"""Base of online and offline training: agent, learner, replay, random numbers, listeners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from worldplan.agent.acting.distance import ruler
from worldplan.agent.config import memory
from worldplan.agent.config.run import RunConfig
from worldplan.agent.config.saved import check_saved
from worldplan.agent.data.batch import Batch
from worldplan.agent.data.replay import Replay
from worldplan.agent.evaluation.calibration import band_coverage
from worldplan.agent.evaluation.diagnostics import (
    collapse_warning,
    diagnose,
    diagnose_policy,
    encode_windows,
)
from worldplan.agent.learning.compiling import Compile, resolve, say
from worldplan.agent.models.networks import not_finite
from worldplan.agent.training.compiled.schedule import schedule
from worldplan.agent.training.compiled.takeover import Takeover
from worldplan.agent.training.events import Listener, Listeners
from worldplan.agent.training.signals import Signals
from worldplan.agent.training.trained import TrainedAgent
from worldplan.agent.training.trust import allow
from worldplan.envs import EnvironmentSpec


class Training:
    """An agent and its learner, for environments with a spec.

    Raises:
        ValueError: the family of world models learns nothing, or a setting does not survive being
            saved.
    """

    replay: Replay  # made by the subclass, which knows its size

    def __init__(
        self,
        config: RunConfig,
        run_dir: Path,
        console: Console,
        spec: EnvironmentSpec,
        listeners: Iterable[Listener],
        length: int,
        plans: Sequence[int] = (),
    ) -> None:
        """Makes the agent of a run of `length` steps, in which it decides for `plans` at once."""
        model = config.agent.model
        if not model.learns:
            raise ValueError(
                f"model.kind={model.kind} learns nothing; expected: "
                f"worldplan evaluate {config.task} model.kind={model.kind}"
            )
        check_saved(config)
        allow(config.env)  # it has been made
        self.config, self.run_dir, self.console = config, run_dir, console
        if config.threads:
            torch.set_num_threads(config.threads)
        how: Compile = "on" if config.compile == "on" else "off"  # it is refused here
        execution, _ = resolve(how, config.update_precision, config.plan_precision, config.device)
        execution = replace(execution, compiled=False)  # until the takeover
        memory.require(config, spec, execution.device, plans=max(plans, default=1), training=True)
        compiled = schedule(config, length, torch.get_num_threads())
        console.print(say(execution, compiled.note))
        torch.manual_seed(config.seed)
        self.agent = TrainedAgent(config, spec, execution)
        self.learner = self.agent.make_learner()
        # Separate generators: acting does not change the random numbers of learning.
        self.learning = self.agent.generator(self.learning_seed(config.seed))
        self.sampling = np.random.default_rng(config.seed)
        self.signals = Signals()
        self.listeners = Listeners(listeners, self.signals.interruptible)
        self.takeover = Takeover(
            compiled, config, (self.agent, self.learner), plans, self._compiling, console.print,
        )  # fmt: skip
        self.step = 0
        self.stop: str | None = None
        self.doing = ""
        self.collapsed = False

    @contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Tells listeners what takes longer than a step."""
        self.doing, before = doing, self.doing
        try:
            yield
        finally:
            self.doing = before

    @contextmanager
    def _compiling(self) -> Iterator[None]:
        with self.busy("compiling"), self.signals.interruptible():
            yield

    @staticmethod
    def learning_seed(seed: int) -> int:
        """Seed of the noise in updates, in a run with this seed."""
        return seed + 1

    @property
    def context_steps(self) -> int:
        """Number of steps before a window that are filtered into the state."""
        return self.agent.model.context - 1

    def update(self) -> dict[str, Tensor]:
        """Makes a gradient update on windows from the replay; returns its metrics, as tensors."""
        c = self.config.agent.learner
        batch = self.replay.sample(self.sampling, c.batch_size, self.context_steps, c.horizon)
        return self.learner.update(batch, self.learning)

    def check_finite(self) -> None:
        """Raises FloatingPointError if a weight or the optimiser's state is not finite."""
        learner, agent = self.learner, self.agent
        parts = {"model": learner.model, "heads": learner.heads, "acting model": agent.model}
        tensors = {
            f"{name} {key}": value
            for name, part in (parts | {"acting heads": agent.heads}).items()
            for key, value in part.state_dict().items()
        }
        tensors["scale of values"] = learner.value_scale
        for i, state in enumerate(learner.optimizer.state.values()):
            tensors |= {f"optimiser {key} {i}": value for key, value in state.items()}
        if name := not_finite(tensors):
            raise FloatingPointError(
                f"training diverged by step {self.step:,}: {name} is not finite; try a "
                f"learner.learning_rate below {self.config.agent.learner.learning_rate:g}, or "
                "rewards of smaller scale"
            )

    @torch.no_grad()
    def measure_steps(self) -> None:
        """Measures how embeddings move in a step, the unit of the agent's distances to a goal."""
        moves = []
        for part in range(4):
            batch, _ = self.diagnostic_batch(self.step + part)
            h, _ = encode_windows(self.agent.model, batch)
            moves.append(h[:, -1] - h[:, -2])
        self.agent.controller.ruler.copy_(ruler(torch.cat(moves)))

    def diagnostic_batch(self, number: int) -> tuple[Batch, torch.Generator]:
        """Windows of one step to measure the model on, and a generator for it.

        Both depend on `number` alone: measuring does not change the run.
        """
        batch = self.replay.sample(np.random.default_rng(number), 512, self.context_steps, 1)
        return batch.to(self.agent.device), self.agent.generator(number)

    def diagnose_heads(self, number: int) -> dict[str, float]:
        """Measures of the policy and the value, see `diagnose_policy`."""
        batch, generator = self.diagnostic_batch(number)
        assert self.agent.heads is not None, "it has a policy"
        return diagnose_policy(self.agent.model, self.agent.heads, batch, generator)

    def diagnose(self, number: int) -> tuple[dict[str, float], dict[str, float]]:
        """Measures of the model, see `diagnose`, and coverage of its bands, see `band_coverage`.

        Warns once when embeddings collapse. There are no bands without z.
        """
        batch, generator = self.diagnostic_batch(number)
        measures = diagnose(self.agent.model, batch, generator)
        bands = {}
        if self.agent.model.latent_dim:
            bands = band_coverage(self.agent.model, batch, self.agent.generator(number))
        warning = None
        if self.learner.model.can_collapse:
            numbers = int(self.agent.spec.observation.numbers.sum())  # pixels say little of rank
            warning = collapse_warning(measures, numbers)
        if warning and not self.collapsed:
            self.listeners.on_warning(warning)
        self.collapsed = warning is not None
        return measures, bands
