"""Saves agents to checkpoints and loads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from torch import Tensor

from worldplan.agent.agent import Agent
from worldplan.agent.config import memory
from worldplan.agent.config.changes import acting
from worldplan.agent.config.reading import reading
from worldplan.agent.config.run import RunConfig
from worldplan.agent.config.saved import read_plain, read_yaml
from worldplan.agent.config.texts import one_line
from worldplan.agent.learning.compiling import Device, resolve
from worldplan.agent.learning.learner import Learner
from worldplan.agent.models.networks import not_finite, under
from worldplan.agent.training import checkpoint, hub
from worldplan.agent.training.trained import TrainedAgent
from worldplan.agent.training.trust import require
from worldplan.envs import EnvironmentSpec, make_env


def read_config(state: Mapping[str, Any]) -> RunConfig:
    """The configuration in a checkpoint's state, of this version or an older one."""
    return read_plain(state["config"])


def config_of(path: Path) -> RunConfig:
    """The configuration of a run's latest checkpoint. Raises as `load` does."""
    found = checkpoint.find(path)
    with reading(found):
        return read_config(checkpoint.read(found)[1])


def read_spec(state: Mapping[str, Any], config: RunConfig) -> EnvironmentSpec:
    """The spec in a checkpoint's state. Format 1 has two numbers in its place."""
    if "spec" in state:
        return EnvironmentSpec.from_json(state["spec"], config.env)
    return EnvironmentSpec.vectors(state["observation_dim"], state["action_dim"], config.env)


def learner_state(learner: Learner) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of the learner (weights, optimiser, scale of values), and JSON of its optimiser."""
    tensors, optimizer = checkpoint.optimizer_tensors("optimizer", learner.optimizer)
    tensors["learner.value_scale"] = learner.value_scale
    for name, part in (("model", learner.model), ("heads", learner.heads)):
        tensors |= {f"learner.{name}.{k}": v for k, v in part.state_dict().items()}
    return tensors, optimizer


def load_learner_state(
    learner: Learner, tensors: dict[str, Tensor], optimizer: dict[str, Any]
) -> None:
    """Inverse of `learner_state`."""
    checkpoint.load_optimizer("optimizer", learner.optimizer, tensors, optimizer)
    learner.value_scale.copy_(tensors["learner.value_scale"])
    learner.model.load_state_dict(under("learner.model.", tensors))
    learner.heads.load_state_dict(under("learner.heads.", tensors))


def load_weights(agent: Agent, tensors: dict[str, Tensor]) -> None:
    """Gives the agent the weights of a checkpoint. Raises ValueError if one is not finite."""
    spread = tensors.get("learner.value_scale")  # of checkpoints from before the heads knew it
    agent.load_weights(({} if spread is None else {"heads.unit.spread": spread}) | tensors)
    if name := not_finite(agent.weights()):
        raise ValueError(f"expected finite weights, got NaN or infinity in {name}")


def load(
    path: str | Path,
    *,
    compiled: bool = False,
    device: Device = "auto",
    trust: bool = False,
    **settings: Any,
) -> TrainedAgent:
    """The agent of a run folder (its latest checkpoint) or of a checkpoint folder.

    Also `hf://USER/NAME[@REVISION]` of the Hugging Face Hub (extra `hub`), and `demo:TASK`, which
    comes with worldplan.

        agent = load("runs/cheetah-run-0")
        action = agent.act(observation)  # of `make_env(config.env)`

    The optimiser is not loaded: the agent only acts. Loading acts on nothing but tensors and
    numbers, unless the model is a simulator, which makes its environment: see `trust.require`.

    Args:
        compiled: a decision takes a third of the time, after a minute or more that its first one
            takes (seconds if the same agent was compiled before): for a controller that runs long.
            The run's setting compile=off, and a machine without a compiler, leave it as it is.
        trust: its environment may be made, whatever module or file it names: by a simulator, and by
            `evaluate`.
        settings: how it is to act, in place of its own settings, as `planner={"samples": 512}`;
            those of `ACTING` in agent/config/changes.py.

    Raises:
        ValueError, FileNotFoundError: not a run, with the runs nearby; a damaged one; an
            environment that is not trusted; or a setting that cannot be changed.
    """
    found = load_with_config(path, compiled=compiled, device=device, trust=trust, settings=settings)
    return found[0]


def load_with_config(
    path: str | Path,
    *,
    compiled: bool = False,
    device: Device = "auto",
    trust: bool = False,
    plays: bool = False,
    env: str | None = None,
    overrides: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> tuple[TrainedAgent, RunConfig]:
    """As `load`; also returns the run's resolved configuration.

    Args:
        plays: the environment is to be made, and must be trusted, whatever the model is.
        env: the environment's id, if the user gave it again; see `trust.require`.
        overrides, settings: how it is to act, on the command line and from Python; see `acting`.
    """
    found = checkpoint.find(hub.local(path))
    with reading(found):
        tensors, state = checkpoint.read(found)
        config, spec = read_identity(state)
    config = acting(config, overrides, settings)
    how = config.compile if compiled else "off"
    execution, _ = resolve(how, config.update_precision, config.plan_precision, device)
    if plays or trust or not config.agent.model.learns:  # then the model makes it, to copy it
        require(config.env, path, trust=trust, named=env)
    memory.require(config, spec, execution.device, plans=1)
    with reading(found):
        agent = TrainedAgent(config, spec, execution)
        load_weights(agent, tensors)
    return agent, config


def take_over(path: Path, config: RunConfig, agent: Agent, learner: Learner) -> None:
    """Gives an agent and its learner, which are new, the weights of another run.

    Raises:
        ValueError: a run with other observations, actions or networks, or a damaged one.
        FileNotFoundError: no run.
    """
    found = checkpoint.find(path)
    with reading(found):
        tensors, state = checkpoint.read(found)
        before, spec = read_identity(state)
    then, now = spec, agent.spec
    for name, there, here in (
        ("observations", then.observation.shape, now.observation.shape),
        ("pictures", then.observation.pictures, now.observation.pictures),
        ("kind of actions", then.action.kind, now.action.kind),
        ("number of actions", then.action.size, now.action.size),
        ("model", before.agent.model, config.agent.model),
        ("heads", before.agent.heads, config.agent.heads),
    ):  # fmt: skip
        if there != here:
            raise ValueError(
                f"start_from={path}: expected a run with the same {name}, {here}, got {there}"
            )
    with reading(found):
        load_weights(agent, tensors)
        trained = under("learner.", tensors)  # ahead of what acts; of `fit` there is none
        for name, part in (("model", learner.model), ("heads", learner.heads)):
            part.load_state_dict(under(f"{name}.", trained) or under(f"{name}.", tensors))


def read_identity(state: Mapping[str, Any]) -> tuple[RunConfig, EnvironmentSpec]:
    """Inverse of `trained.identity`."""
    config = read_config(state)
    return config, read_spec(state, config)


def read_counters(
    state: Any, whole: Iterable[str] = (), real: Iterable[str] = ()
) -> dict[str, Any]:
    """The counters of these names in a part of a checkpoint's state: whole and real numbers.

    Raises:
        ValueError: one is missing, or is no finite number from 0.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"expected counters by name, got {one_line(repr(state), 80)}")
    found = {}
    for kinds, names in (((int,), whole), ((int, float), real)):
        for name in names:
            value: Any = state.get(name)
            if type(value) not in kinds or not 0 <= value < inf:
                shown = one_line(repr(value), 80)
                raise ValueError(f"expected a number from 0 as counter {name}, got {shown}")
            found[name] = value
    return found


def make_agent(config: RunConfig) -> TrainedAgent:
    """A new, untrained agent; for a family that learns nothing it is complete."""
    world = make_env(config.env)
    spec = EnvironmentSpec.of(world, config.env)
    world.close()
    execution, _ = resolve("off", config.update_precision, config.plan_precision, config.device)
    memory.require(config, spec, execution.device, plans=1)
    return TrainedAgent(config, spec, execution)


def same_config(config: RunConfig, run_dir: Path) -> bool:
    """Whether the folder has a `config.yaml`.

    Raises:
        ValueError: it has one with other settings.
    """
    path = run_dir / "config.yaml"
    if not path.exists():
        return False
    # A setting that is younger than the folder has its default there.
    if read_yaml(path) != config:
        raise ValueError(
            f"{run_dir} was made with other settings; repeat the command with the same "
            "settings, or choose another --out"
        )
    return True
