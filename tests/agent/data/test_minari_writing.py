"""Minari data sets that this package writes: what was played is what is read."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tests.helpers.commands import run
from tests.helpers.settings import SMALL
from worldplan.agent.acting.collect import collect
from worldplan.agent.data.dataset import Episode, read_dataset
from worldplan.agent.data.minari import check_new, minari_spec, read_minari, write_minari
from worldplan.envs import EnvConfig, EnvironmentSpec, make_env

minari = pytest.importorskip("minari")
ENV = "--env", "toy_envs:ToyPoint-v0"
PARTS = spaces.Dict(
    {
        "field": spaces.Box(-5, 5, (2, 3), np.float64),
        "place": spaces.Discrete(4, start=-1),
        "pair": spaces.Tuple((spaces.MultiDiscrete([2, 3]), spaces.Box(0, 9, (1,), np.int64))),
        "flags": spaces.MultiBinary(3),
    }
)


class Sampled(gym.Env[Any, Any]):
    """Observations drawn from a space. It ends after three decisions."""

    def __init__(self, seen: spaces.Space[Any], acts: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = seen, acts

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return self.observation_space.sample(), self.t / 3, self.t >= 3, False, {}


made: Any = Sampled
gym.register("ToySampled-v0", entry_point=made)  # a class, which JSON cannot say
gym.register("ToyTimed-v0", entry_point="toy_envs:Point", max_episode_steps=7)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def check_same(read: list[Episode], played: list[Episode]) -> None:
    assert len(read) == len(played)
    for a, b in zip(read, played, strict=True):
        np.testing.assert_array_equal(a.observation, b.observation)
        np.testing.assert_allclose(a.action, b.action, atol=1e-6)
        np.testing.assert_array_equal(a.reward, b.reward)
        assert (a.terminated, a.truncated) == (b.terminated, b.truncated)


@pytest.mark.parametrize(
    "acts",
    [
        spaces.Box(np.array([0, -3]), np.array([2, 3]), dtype=np.float64),
        spaces.Discrete(3, start=1),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(2),
    ],
    ids=str,
)
@pytest.mark.parametrize("seen", [PARTS, spaces.Discrete(4), spaces.Box(-1, 1, (2,))], ids=str)
def test_every_kind_of_space_is_read_as_it_was_written(
    seen: spaces.Space[Any], acts: spaces.Space[Any]
) -> None:
    config = EnvConfig(id="ToySampled-v0", kwargs={"seen": seen, "acts": acts})
    played = collect(config, 7, "random")
    assert [(e.terminated, e.truncated) for e in played] == [
        (True, False), (True, False), (False, True),
    ]  # fmt: skip
    world = make_env(config)
    assert write_minari("toy/kinds-v0", played, world, "random") == 7
    check_same(read_minari("toy/kinds-v0"), played)
    data = minari.load_dataset("toy/kinds-v0")
    assert (data.observation_space, data.action_space) == (seen, acts)
    for episode in data.iterate_episodes():
        assert all(action in acts for action in episode.actions)
    assert data.env_spec.id == "ToySampled-v0"
    minari_spec("toy/kinds-v0").check_same(EnvironmentSpec.of(world))


def test_the_environment_can_be_made_again_as_it_was() -> None:
    for i, repeat in enumerate((1, 3)):
        config = EnvConfig(id="ToyTimed-v0", action_repeat=repeat)
        played = collect(config, 8, "random")
        write_minari(f"toy/timed-v{i}", played, make_env(config), "random")
        again = minari.load_dataset(f"toy/timed-v{i}").recover_environment()
        assert again.spec is not None
        assert again.spec.max_episode_steps == 7
        assert ("ActionRepeat" in str(again)) == (repeat > 1)


def test_packages_are_told() -> None:
    config = EnvConfig(id="CartPole-v1")
    write_minari("cartpole-v0", collect(config, 3), make_env(config), "noise")
    told = minari.load_dataset("cartpole-v0").storage.metadata["requirements"]
    assert told == [f"gymnasium=={version('gymnasium')}"]


def test_rollout_writes_what_fit_reads(tmp_path: Path) -> None:
    run_dir, fitted, file = tmp_path / "toy", tmp_path / "fit", tmp_path / "a.npz"
    run("train", *ENV, *SMALL, "steps=60", f"run_dir={run_dir}")
    words = "rollout", run_dir, "--episodes", 2, "--dataset"
    said = run(*words, "minari:toy/point-v0")
    assert "transitions written to minari:toy/point-v0" in said
    run(*words, file)
    check_same(read_minari("toy/point-v0"), read_dataset(file))
    about = minari.load_dataset("toy/point-v0").storage.metadata
    assert about["algorithm_name"] == "worldplan, actor planner"
    said = run("rollout", run_dir, "--dataset", "minari:toy/point-v0", code=1)
    assert said.count("\n") == 1
    assert "is there already" in said
    assert "minari:toy/point-v1" in said
    assert len(read_minari("toy/point-v0")) == 2
    run("fit", *ENV, "minari:toy/point-v0", *SMALL, "--rewards", "--updates", 2,
        f"run_dir={fitted}")  # fmt: skip
    assert (fitted / "fit.csv").exists()


def test_collect_writes_minari_too() -> None:
    run("collect", *ENV, "--steps", 30, "--out", "minari:toy-v3")
    assert sum(len(e.reward) for e in read_minari("toy-v3")) == 30
    assert "minari:toy-v4" in run("collect", *ENV, "--steps", 30, "--out", "minari:toy-v3", code=1)


@pytest.mark.parametrize("name", ["toy", "toy/", "../toy-v0", "/toy-v0", "a b-v0", "", "toy-v"])
def test_names_that_minari_cannot_load_are_one_line(name: str, tmp_path: Path) -> None:
    said = run("collect", *ENV, "--steps", 5, "--out", f"minari:{name}", code=1)
    assert said.count("\n") == 1
    assert "expected minari:GROUP/NAME-v0" in said
    assert not (tmp_path / "toy-v0").exists()


def test_pictures_are_refused_before_the_work() -> None:
    said = run("collect", "--env", "toy_envs:ToyDot-v0", "--steps", 5, "--out", "minari:d-v0",
               code=1)  # fmt: skip
    assert said.count("\n") == 1
    assert "pictures are not written as Minari's; expected a file that ends in .npz" in said


def test_after_an_error_nothing_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = EnvConfig(id="toy_envs:ToyPoint-v0")
    played, world = collect(config, 8, "random"), make_env(config)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("minari.dataset._storages.hdf5_storage.HDF5Storage.update_episodes", full)
        with pytest.raises(OSError, match="No space left"):
            write_minari("toy/point-v0", played, world, "random")
    assert not list(tmp_path.rglob("*-v0"))
    write_minari("toy/point-v0", played, world, "random")
    with pytest.raises(ValueError, match="is there already"):
        check_new("toy/point-v0", world)
