"""Specs survive being saved, and tell environments apart."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console

from tests.helpers.settings import SMALL
from worldplan.agent.config.overrides import resolve
from worldplan.agent.evaluation.evaluate import evaluate
from worldplan.agent.evaluation.film import film_episode
from worldplan.agent.training.restore import load
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import (
    EnvConfig,
    EnvironmentSpec,
    ObservationSpec,
    SyncVectorEnv,
    make_env,
    make_vector,
)

AS_TRAINED: dict[str, Any] = {
    "seen": {"place": spaces.Box(-2, 2, (2,)), "speed": spaces.Box(-np.inf, np.inf, (1,))},
    "acts": spaces.Box(-3, 3, (1,)),
}
CONFIG = EnvConfig(id="toy/Changing-v0")
CHANGED = [
    ({"seen": {"place": spaces.Box(-2, 2, (1,))}}, r"observations of shape \(1,\), and \(3,\) in"),
    (
        {"seen": {"place": spaces.Box(-2, 2, (2,)), "spin": spaces.Box(-np.inf, np.inf, (1,))}},
        r"observations of \('spin', 1\) at index 1, and \('speed', 1\) in training",
    ),
    ({"acts": spaces.Box(-1, 3, (1,))}, r"actions from -1.0 at index 0, and -3.0 in training"),
    ({"acts": spaces.Box(-3, 9, (1,))}, r"actions up to 9.0 at index 0, and 3.0 in training"),
    ({"acts": spaces.Box(-3, 3, (2,))}, "actions of size 2, and 1 in training"),
]


class Changing(gym.Env[Any, Any]):
    """An environment whose code somebody changes."""

    now = AS_TRAINED

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(self.now["seen"])
        self.action_space = self.now["acts"]

    def _see(self) -> Any:
        return {k: np.zeros(s.shape, np.float32) for k, s in self.now["seen"].items()}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self._see(), {}

    def step(self, action: Any) -> Any:
        return self._see(), 0.0, False, False, {}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Changing, "now", AS_TRAINED)
    gym.register("toy/Changing-v0", lambda **_: Changing(), max_episode_steps=5)
    yield
    del gym.registry["toy/Changing-v0"]


def of_env(config: EnvConfig) -> EnvironmentSpec:
    env = make_env(config)
    env.close()
    return EnvironmentSpec.of(env, config)


def test_a_spec_knows_parts_bounds_and_id() -> None:
    spec = of_env(CONFIG)
    assert spec.id == "toy/Changing-v0"
    assert spec.observation.parts == (("place", 2), ("speed", 1))
    assert spec.observation.low == (-2, -2, -np.inf)
    assert (spec.action.low, spec.action.high) == ((-3,), (3,))


def test_a_spec_is_read_as_it_was_saved() -> None:
    for spec in (of_env(CONFIG), EnvironmentSpec.vectors(3, 1, CONFIG)):
        saved = json.loads(json.dumps(spec.to_json()))
        assert EnvironmentSpec.from_json(saved, CONFIG) == spec
        spec.check_same(of_env(CONFIG))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gym.register("toy/Changing-v0", lambda **_: Changing(), max_episode_steps=5)
    path = tmp_path_factory.mktemp("run") / "run"
    config = resolve({"task": "toy", "env": {"id": CONFIG.id}}, [*SMALL, "steps=10"])
    Trainer(config, path, Console(quiet=True))
    del gym.registry["toy/Changing-v0"]
    return path


@pytest.mark.parametrize(("change", "message"), CHANGED)
def test_an_environment_that_has_changed_is_refused(
    change: dict[str, Any], message: str, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = load(run_dir)
    evaluate(agent, make_vector(CONFIG, 1), [0])
    monkeypatch.setattr(Changing, "now", {**AS_TRAINED, **change})
    with pytest.raises(ValueError, match=message):
        evaluate(agent, make_vector(CONFIG, 1), [0])
    with pytest.raises(ValueError, match=message):
        film_episode(agent, CONFIG, 0, None, "zero")
    settings = [*SMALL, "steps=10"]
    config = resolve({"task": "toy", "env": {"id": CONFIG.id}}, settings)
    with pytest.raises(ValueError, match="expected"):
        Trainer(config, run_dir, Console(quiet=True), resume=True)


def test_other_bounds_of_observations_are_told(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = load(run_dir)
    other = {**AS_TRAINED["seen"], "place": spaces.Box(-2, 180, (2,))}
    monkeypatch.setattr(Changing, "now", {**AS_TRAINED, "seen": other})
    told = r"the highest observations .* 180.0 at index 0, and were 2.0 in"
    with pytest.warns(UserWarning, match=told):
        evaluate(agent, make_vector(CONFIG, 1), [0])


def test_another_version_is_refused() -> None:
    now = of_env(EnvConfig(id="Hopper-v5"))
    then = of_env(EnvConfig(id="Hopper-v4", kwargs={}))
    with pytest.raises(ValueError, match="id 'Hopper-v5', and 'Hopper-v4' in training"):
        then.check_same(now)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0.0], r"expected an observation of shape \(3,\)"),
        (np.zeros((2, 1, 3)), r"expected an observation of shape \(3,\)"),
        ([1j, 0, 0], "expected an observation of real numbers, got complex128"),
        (["1", "2", "3"], "expected an observation of real numbers, got <U1"),
        ([1e39, 0, 0], "expected a finite float32 observation"),
    ],
)
def test_an_observation_must_fit(given: Any, message: str) -> None:
    with warnings.catch_warnings(action="error"), pytest.raises(ValueError, match=message):
        ObservationSpec((3,)).check(given)


def test_other_versions_of_packages_are_told() -> None:
    spec = of_env(EnvConfig(id="Hopper-v5"))
    assert dict(spec.packages or ()) == {"gymnasium": gym.__version__}
    then = replace(spec, packages=(("gymnasium", "0.1"),))
    with pytest.warns(UserWarning, match=r"packages .* were \('gymnasium', '0.1'\) in training"):
        then.check_same(spec)
    assert of_env(CONFIG).packages == ()  # of the user's own module


def test_copies_that_differ_are_refused() -> None:
    """As of an environment whose spaces change from one instance to the next."""
    first = make_env(CONFIG)
    change: Any
    for change, said in CHANGED:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Changing, "now", AS_TRAINED | change)
            other = make_env(CONFIG)
        with pytest.raises(ValueError, match=said.replace("in training", "in its first copy")):
            SyncVectorEnv([first, other], CONFIG)
    with pytest.raises(ValueError, match=r"an environment of worldplan.make_env, which takes"):
        SyncVectorEnv([gym.make("toy/Changing-v0")])
