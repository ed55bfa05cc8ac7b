"""Settings have bounds that a machine can bear, and memory is known before it is taken."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.commands import run
from tests.helpers.contract_cases import Case, some
from tests.helpers.settings import SMALL
from worldplan.agent.agent import Agent
from worldplan.agent.config import memory
from worldplan.agent.config.names import dotted
from worldplan.agent.config.overrides import resolve
from worldplan.envs import EnvironmentSpec

CPU = torch.device("cpu")
KINDS = [
    *("model.latent=gaussian", "model.latent=categorical"),
    *("model=jepa", "model=ensemble", "model=autoregressive", "model=simulator"),
    *("planner=cem", "planner=icem", "planner=gradient", "planner=random_shooting"),
    *("planner.risk=cvar", "planner.risk=entropic", "planner.risk=adversarial"),
]


def numbers() -> list[tuple[str, str]]:
    """Every setting that is a number, with the kind that has it."""
    base = {"task": "toy", "env": {"id": "Hopper-v5"}}
    found: dict[str, str] = {}
    for kind in KINDS:
        for name, value in dotted(resolve(base, [kind]).model_dump()):
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(name.removeprefix("agent."), kind)
    return [(kind, name) for name, kind in found.items()]


@pytest.mark.parametrize(("kind", "name"), numbers(), ids=str)
def test_every_number_has_bounds(kind: str, name: str) -> None:
    base = {"task": "toy", "env": {"id": "Hopper-v5"}}
    for value in ("1e30", "-1e30", ".inf", "-.inf", ".nan", "on", "yes", "1" + "0" * 5000):
        with pytest.raises(ValueError, match=name.rpartition(".")[2]) as error:
            resolve(base, [kind, f"{name}={value}"])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "override",
    ["planner.samples=1e10", "planner.horizon=1e5", "num_envs=1e5", "learner.learning_rate=.inf",
     "model.width=on", "replay.capacity=1e15", "planner.deadline_ms=.inf", "threads=100000"],
)  # fmt: skip
def test_settings_of_the_issue_are_refused(toy: dict[str, Any], override: str) -> None:
    with pytest.raises(ValueError, match=override.partition("=")[0]):
        resolve(toy, [override])


def weights(agent: Agent) -> int:
    return sum(u.numel() for u in agent.weights().values())


@some("learns")
def test_the_estimate_of_weights_is_close(case: Case) -> None:
    agent = case.make()
    found = memory.estimate(agent.config, agent.spec, plans=1, training=False)["weights"]
    real = 4 * weights(agent)
    assert 0.4 * real < found < 3 * real + 4000, "of small ones, biases and statistics are most"


def test_the_estimate_of_a_real_model_is_close() -> None:
    for words in ([], ["model=ensemble"], ["model=autoregressive", "model.action=true"]):
        config = resolve({"task": "toy", "env": {"id": "x"}}, words)
        spec = EnvironmentSpec.vectors(17, 6, config.env)
        found = memory.estimate(config.agent, spec, plans=1, training=False)["weights"]
        assert found / 4 == pytest.approx(weights(Agent(config.agent, spec)), rel=0.5)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (["model.width=16384", "model.layers=32"], "width, layers, embedding"),
        (["planner.samples=100000", "planner.latent_samples=10000"], "planner.samples"),
        (["learner.batch_size=100000", "learner.horizon=500"], "learner.batch_size"),
        (["model=ensemble", "model.members=100", "model.width=16384"], "width, layers"),
        (["model=autoregressive", "model.context=500", "learner.batch_size=9999"], "model.context"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    tmp_path: Path, settings: list[str], part: str
) -> None:
    small = [word for word in SMALL if not word.startswith(("model", "planner", "learner"))]
    words = ["train", "--env", "toy_envs:ToyPoint-v0", *small, f"run_dir={tmp_path / 'run'}"]
    began = time.perf_counter()
    said = run(*words, *settings, code=1)
    assert time.perf_counter() - began < 2
    assert "GiB of memory" in said
    assert part in said
    assert not (tmp_path / "run").exists(), "a refused run leaves no folder"


def test_what_fits_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve({"task": "toy", "env": {"id": "x"}})
    spec = EnvironmentSpec.vectors(17, 6, config.env)
    memory.require(config, spec, CPU, plans=10, training=True)
    monkeypatch.setattr(memory, "available", lambda device: None)  # the system does not tell
    memory.require(config, spec, CPU, plans=10**9, training=True)
    monkeypatch.setattr(memory, "available", lambda device: 10**6)
    with pytest.raises(ValueError, match=r"needs about .* and 0\.0 GiB are free"):
        memory.require(config, spec, CPU, plans=10, training=True)


def test_what_is_free_is_known_here() -> None:
    free = memory.available(CPU)
    assert free is None or 0 < free < math.inf


def test_nothing_reaches_a_return_that_is_no_number() -> None:
    base = {"task": "toy", "env": {"id": "Hopper-v5"}}
    with pytest.raises(ValueError, match=r"^solved: expected a return, .*; got nan$"):
        resolve(base, ["solved=.nan"])
    assert resolve(base, ["solved=.inf"]).solved == math.inf
    assert resolve(base, ["solved=null"]).solved is None
