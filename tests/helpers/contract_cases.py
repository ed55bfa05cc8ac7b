"""The world models of the contract tests. A new family needs a new line in `CASES`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import rng
from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.data.batch import Batch
from worldplan.agent.models.world_model import LearnedModel, Model
from worldplan.envs import ActionSpec, EnvConfig, EnvironmentSpec
from worldplan.planners import Categorical


def normal(*lead: int, width: int, seed: int) -> Tensor:
    return torch.randn(*lead, width, generator=rng(seed))


@dataclass(frozen=True)
class Case:
    """A small model of a family, and its properties beyond the contract."""

    model: dict[str, Any]  # its config
    observation_dim: int = 3
    action_dim: int = 2
    choices: tuple[int, ...] | None = None  # of the action; None: numbers
    differentiable: bool = True  # Pred is differentiable in h, z and a
    finite_kl: bool = True  # the KL of the posterior from the prior is finite
    exact_posterior: bool = False  # predict with the posterior's z returns h_next
    trained: bool = True  # it has parameters that `loss` trains
    uses_action: bool = True
    learns: bool = True
    uses_all_embeddings: bool = False  # its loss uses embeddings after the episode's end, too
    env: EnvConfig | None = None  # that it simulates
    observe: Callable[..., Tensor] = normal  # plausible observations (*lead, width)

    def make(self, seed: int = 0, **settings: Any) -> Agent:
        """A small agent that has observed some data, and whose plans differ in cost."""
        torch.manual_seed(seed)
        small: dict[str, Any] = {
            "heads": {"width": 16, "outcome_width": 16, "bins": 21},
            "learner": {"horizon": 2, "batch_size": 8},
            "planner": {"samples": 16, "elites": 4, "iterations": 2, "latent_samples": 2},
            "proposals": 4,
        }
        if not self.learns:
            small["proposals"] = 0
        config = AgentConfig.model_validate({**small, "model": self.model, **settings})
        spec = EnvironmentSpec.vectors(self.observation_dim, self.action_dim, self.env)
        if self.choices is not None:
            choices = ActionSpec(self.action_dim, "multi_discrete", choices=self.choices)
            spec = replace(spec, action=choices)
        agent = Agent(config, spec)
        if not isinstance(agent.model, LearnedModel):
            return agent
        agent.model.observe(self.x(64, seed=99))
        generator = rng(seed + 7)  # else many weights are zero before training
        with torch.no_grad():
            for part in (agent.model, agent.heads):
                for p in part.parameters():
                    p.add_(0.2 * torch.randn(p.shape, generator=generator))
        return agent

    def model_of(self, seed: int = 0) -> Model:
        agent = self.make(seed)
        return agent.make_learner().model if agent.learns else agent.model

    def x(self, *lead: int, seed: int = 0) -> Tensor:
        return self.observe(*lead, width=self.observation_dim, seed=seed)

    def a(self, *lead: int, seed: int = 1) -> Tensor:
        a = 2 * torch.rand(*lead, self.action_dim, generator=rng(seed)) - 1
        return a if self.choices is None else Categorical(self.choices).executable(a)

    def batch(self, agent: Agent, sequences: int = 8, seed: int = 0) -> Batch:
        """Windows of noise of the learner's length. In the first one the episode has ended."""
        steps = agent.model.context - 1 + agent.config.learner.horizon
        valid = torch.ones(sequences, steps, dtype=torch.bool)
        valid[0, -1] = False
        reward = torch.randn(sequences, steps, generator=rng(seed + 2))
        x, a = self.x(sequences, steps + 1, seed=seed), self.a(sequences, steps, seed=seed + 1)
        return Batch(x, a, reward, torch.zeros_like(reward), valid)


JEPA = {"kind": "jepa", "embedding": 16, "width": 16, "memory": 8, "simnorm_group": 4}
GAUSSIAN = {"kind": "gaussian", "dim": 4, "free_bits": 0.0}
CATEGORICAL = {"kind": "categorical", "groups": 2, "classes": 4, "free_bits": 0.0}
# Not differentiable, and the posterior is exact up to a bin: see test_autoregressive.py.
AUTOREGRESSIVE = {"kind": "autoregressive", "bins": 8, "width": 8, "layers": 1, "heads": 2}
ENSEMBLE = {"kind": "ensemble", "members": 3, "width": 16, "layers": 1}

PENDULUM = EnvConfig(id="InvertedPendulum-v5", observe="state")


def pendulum(*lead: int, width: int, seed: int) -> Tensor:
    """States of the upright pendulum: time, positions, velocities."""
    return 0.1 * normal(*lead, width=width, seed=seed).abs()


GUSTS = EnvConfig(id="worldplan/Gusts-v0", kwargs={"gust": 0.5}, observe="state")


def near_the_bridge(*lead: int, width: int, seed: int) -> Tensor:
    """States of the ball on the bridge: time, positions, velocities, no gust so far."""
    x = 0.05 * normal(*lead, width=width, seed=seed).abs()
    return x * x.new_tensor([1, 1, 1, 1, 1, 0]) + x.new_tensor([0, 0.75, 0, 1.2, 0, 0])


SIMULATOR = Case(
    {"kind": "simulator", "threads": 1},
    observation_dim=5,
    action_dim=1,
    differentiable=False,
    learns=False,
    trained=False,
    env=PENDULUM,
    observe=pendulum,
)

CASES: dict[str, Case] = {
    "jepa": Case(JEPA),
    "jepa, memory": Case({**JEPA, "context": 3}),
    "jepa, gaussian": Case({**JEPA, "latent": GAUSSIAN}),
    "jepa, categorical, memory": Case({**JEPA, "latent": CATEGORICAL, "context": 2}),
    "jepa, no action": Case({**JEPA, "action": False}, uses_action=False),
    "jepa, vicreg": Case({**JEPA, "anti_collapse": "vicreg"}, uses_all_embeddings=True),
    "jepa, sigreg": Case(
        {**JEPA, "anti_collapse": "sigreg", "sigreg_directions": 8}, uses_all_embeddings=True
    ),
    "ensemble, ts1": Case({**ENSEMBLE, "sampling": "ts1"}, finite_kl=False, exact_posterior=True),
    "ensemble, tsinf": Case(
        {**ENSEMBLE, "sampling": "tsinf"}, finite_kl=False, exact_posterior=True
    ),
    "autoregressive": Case(AUTOREGRESSIVE, differentiable=False, uses_action=False),
    "autoregressive, action": Case({**AUTOREGRESSIVE, "action": True}, differentiable=False),
    "autoregressive, action, window": Case(
        {**AUTOREGRESSIVE, "action": True, "context": 3}, differentiable=False
    ),
    "jepa, choices": Case({**JEPA, "context": 2}, action_dim=5, choices=(2, 3)),
    "ensemble, choices": Case(
        ENSEMBLE, action_dim=3, choices=(3,), finite_kl=False, exact_posterior=True
    ),
    "autoregressive, choices": Case(
        {**AUTOREGRESSIVE, "action": True}, action_dim=4, choices=(2, 2), differentiable=False
    ),
    "simulator": SIMULATOR,
    "simulator, random task": replace(
        SIMULATOR, observation_dim=6, env=GUSTS, observe=near_the_bridge
    ),
}

every = pytest.mark.parametrize("case", [pytest.param(case, id=k) for k, case in CASES.items()])


def some(prop: str) -> pytest.MarkDecorator:
    """The cases that have a property."""
    kept = [pytest.param(c, id=k) for k, c in CASES.items() if getattr(c, prop)]
    return pytest.mark.parametrize("case", kept)
