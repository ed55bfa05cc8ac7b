"""Agents to and from checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor

from worldplan.agent.agent import Agent
from worldplan.agent.config.run import RunConfig
from worldplan.agent.learning.compiling import resolve
from worldplan.agent.learning.learner import Learner
from worldplan.agent.models.simulator import simulator_of
from worldplan.agent.training import checkpoint


def weights(agent: Agent) -> dict[str, Tensor]:
    """Everything that acting needs, by name: model, normaliser and heads, if it learns."""
    tensors = {f"model.{k}": v for k, v in agent.model.state_dict().items()}
    if agent.learns:
        tensors |= {f"heads.{k}": v for k, v in agent.heads.state_dict().items()}
    return tensors


def load_weights(agent: Agent, tensors: dict[str, Tensor]) -> None:
    """Inverse of `weights`; ignores the learner's tensors beside them."""
    agent.model.load_state_dict(_under("model.", tensors))
    if agent.learns:
        agent.heads.load_state_dict(_under("heads.", tensors))


def learning(learner: Learner) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What the learner adds: trained weights, optimiser and the scale of values; and JSON."""
    tensors, optimizer = checkpoint.optimizer_tensors("optimizer", learner.optimizer)
    tensors["learner.value_scale"] = learner.value_scale
    for name, part in (("model", learner.model), ("heads", learner.heads)):
        tensors |= {f"learner.{name}.{k}": v for k, v in part.state_dict().items()}
    return tensors, optimizer


def load_learning(learner: Learner, tensors: dict[str, Tensor], optimizer: dict[str, Any]) -> None:
    """Inverse of `learning`."""
    checkpoint.load_optimizer("optimizer", learner.optimizer, tensors, optimizer)
    learner.value_scale.copy_(tensors["learner.value_scale"])
    learner.model.load_state_dict(_under("learner.model.", tensors))
    learner.heads.load_state_dict(_under("learner.heads.", tensors))


def load(path: str | Path, *, compiled: bool = False) -> Agent:
    """The agent of a run folder (its latest checkpoint) or of a checkpoint folder.

        agent = load("runs/cheetah-run-0")
        action = agent.act(observation)  # as `make_env(config.env)` shows it

    Raises:
        ValueError, FileNotFoundError: not a run; the text names what is there.
    """
    return load_with_config(path, compiled=compiled)[0]


def load_with_config(path: str | Path, *, compiled: bool = False) -> tuple[Agent, RunConfig]:
    """As `load`, with the run's resolved configuration."""
    tensors, state = checkpoint.read(checkpoint.find(Path(path)))
    config = RunConfig.model_validate(state["config"])
    how = config.compile if compiled else "off"
    execution, _ = resolve(how, config.update_precision, config.plan_precision)
    sizes = state["observation_dim"], state["action_dim"]
    simulator = simulator_of(config.agent.model, config.env)
    agent = Agent(config.agent, *sizes, execution, simulator)
    load_weights(agent, tensors)
    return agent, config


def config_json(config: RunConfig) -> dict[str, object]:
    """The configuration as plain JSON values."""
    content: dict[str, object] = json.loads(config.model_dump_json())
    return content


def save_config(config: RunConfig, run_dir: Path) -> None:
    """Writes the run's `config.yaml`."""
    run_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(config_json(config)), run_dir / "config.yaml")


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
