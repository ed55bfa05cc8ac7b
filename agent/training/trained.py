"""An agent and the settings of its run: it can be evaluated, saved, and asked as others are.

Shapes: B environments, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worldplan.agent.acting.actor_state import ActorState
from worldplan.agent.agent import Agent
from worldplan.agent.config import memory
from worldplan.agent.config.presets import of_task
from worldplan.agent.config.run import RunConfig
from worldplan.agent.config.saved import check_saved, plain, to_yaml
from worldplan.agent.data.atomic import write_text
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.evaluate import Evaluation, evaluate
from worldplan.agent.learning.compiling import Execution
from worldplan.agent.training import checkpoint
from worldplan.agent.training.trust import require
from worldplan.envs import EnvConfig, EnvironmentSpec, make_vector

if TYPE_CHECKING:
    from worldplan.agent.deployment.fixed_rate import Timing


@dataclass(frozen=True)
class PredictState:
    """What one call of `TrainedAgent.predict` passes on to the next."""

    acting: ActorState
    random: Tensor  # state of the generator


class TrainedAgent(Agent):
    """What `worldplan.train` and `worldplan.load` return; `run` are the settings of its run."""

    def __init__(
        self,
        run: RunConfig,
        spec: EnvironmentSpec,
        execution: Execution = Execution(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(run.agent, spec, execution)
        self.run = run

    def again(self) -> Callable[..., Agent]:
        return partial(TrainedAgent, self.run)

    def predict(
        self,
        observation: Any,
        state: PredictState | None = None,
        episode_start: npt.ArrayLike | None = None,
        deterministic: bool = True,
    ) -> tuple[Any, PredictState]:
        """Actions as the environment takes them, and the state for the next call.

        Called as the policies of Stable-Baselines3 are, so that its `evaluate_policy` takes the
        agent. Without the state each call plans from nothing, which costs some of the return, and
        the same observation gives the same action.

        Args:
            observation: one, or a batch of B, as for `act`.
            state: from the last call; None where all episodes begin.
            episode_start: bool (B,), where new episodes have begun since.
            deterministic: False adds the noise of exploration in training.

        Raises:
            ValueError: an observation of another shape, or another number of them than before.
        """
        shape = self.spec.observation.shape
        x = torch.tensor(self.spec.observation.check(observation))
        batch = x.reshape(-1, *shape)
        actor, generator = self.actor("planner", explore=not deterministic), self.generator(0)
        if state is None:
            acting = actor.initial(len(batch))
            if not deterministic:
                generator.set_state(self._generator.get_state())
        else:
            acting = state.acting
            generator.set_state(state.random)
            if len(acting.valid) != len(batch):
                raise ValueError(
                    f"expected {len(acting.valid)} observations as in the last call, got "
                    f"{len(batch)}; state=None begins anew"
                )
            if episode_start is not None:
                begins = torch.from_numpy(np.array(episode_start, np.bool_).reshape(-1))
                acting = acting.begin(begins, acting.goal)
        action, acting, _ = actor.act(batch, acting, generator)
        if state is None and not deterministic:
            self._generator.set_state(generator.get_state())
        found = action.numpy().reshape(*x.shape[: x.ndim - len(shape)], -1).copy()
        return self.spec.action.scaled(found), PredictState(acting, generator.get_state())

    def evaluate(
        self, task: object = None, *, episodes: int = 10, actor: str = "planner"
    ) -> Evaluation:
        """Plays held-out episodes without exploration, as the command `worldplan evaluate` does.

        Args:
            task: as for `worldplan.train`, where the agent is to act elsewhere than in the
                environment of its run; `env.action_repeat` and `env.observe` stay the run's.
            episodes: how many, planned as one batch.
            actor: `planner`, `policy`, `random` or `zero`.

        Raises:
            ValueError: observations or actions are other ones than in training; the run's
                environment is not trusted (`worldplan.load`), or cannot be made.
        """
        if task is None:
            env = self.run.env
            require(env, self.run.run_dir or self.run.task)
        else:
            env = self._elsewhere(task)
        memory.require(self.run, self.spec, self.device, plans=episodes)
        world = make_vector(env, episodes)
        if task is not None:  # asked for by its name: only shapes must fit
            world.spec = replace(world.spec, id=None, packages=None)
        try:
            longest = self.run.eval_max_steps
            return evaluate(self, world, held_out_seeds(episodes), actor, longest=longest)
        finally:
            world.close()

    def save(self, path: str | Path) -> Path:
        """Writes the agent to a folder, from which `worldplan.load` reads it; returns the folder.

        Not its aim, nor what training needs: a run is resumed from its own folder. What was saved
        there before is replaced.

        Raises:
            FileExistsError: the folder holds a training run.
        """
        folder = Path(path)
        if (folder / "replay").exists():
            raise FileExistsError(f"{folder} holds a training run; expected another folder")
        save_config(self.run, folder)
        checkpoint.save(folder, 0, self.weights(), identity(self.run, self.spec), keep=1)
        return folder

    def push_to_hub(self, repo: str, *, private: bool = False, token: str | None = None) -> str:
        """Uploads the agent with a model card to the Hugging Face Hub; see `hub.push`."""
        from worldplan.agent.training import hub

        return hub.push(self, repo, private=private, token=token)

    def export(self, path: str | Path, actor: str | None = None, batch: int = 1) -> Path:
        """Writes a file that acts without worldplan; see `deployment.export.export`."""
        from worldplan.agent.deployment.export import export

        return export(self, path, actor, batch)

    def control(
        self, read: Callable[[], Any], write: Callable[[Any], object], **how: Any
    ) -> Timing:
        """Acts at a fixed rate, on a robot; see `deployment.fixed_rate.control`."""
        from worldplan.agent.deployment.fixed_rate import control

        return control(self, read, write, **how)

    def _elsewhere(self, task: object) -> EnvConfig:
        if isinstance(task, EnvConfig):
            return task
        found = EnvConfig.model_validate(of_task(task)["env"])
        return self.run.env.model_copy(update={"id": found.id, "kwargs": found.kwargs})


def identity(config: RunConfig, spec: EnvironmentSpec) -> dict[str, Any]:
    """Configuration and spec, from which the agent of a checkpoint is made, as JSON."""
    return {"config": plain(config), "spec": spec.to_json()}


def save_config(config: RunConfig, run_dir: Path) -> None:
    """Writes the run's `config.yaml`. Raises ValueError if it would be read otherwise."""
    check_saved(config)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(run_dir / "config.yaml", to_yaml(config))
