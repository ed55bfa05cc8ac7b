"""Every command, in an environment whose actions are choices."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from rich.console import Console

from tests.helpers.commands import run
from tests.helpers.cut import run_until_power_cut, short_probe
from tests.helpers.settings import SMALL
from worldplan.agent.acting.actors import ACTORS
from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.dataset import read_spec
from worldplan.agent.experiments.compare.measure import wander
from worldplan.agent.training.checkpoint import find, read
from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.restore import load
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import ActionSpec, EnvConfig

ENV = "toy_envs:ToyLevers-v0"
SPEC = ActionSpec(5, "multi_discrete", choices=(3, 2), first=(-1, 1))


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with short_probe():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "levers"
    run("train", "--env", ENV, *SMALL, "steps=60", f"run_dir={run_dir}")
    return run_dir


@pytest.mark.parametrize("actor", ACTORS)
def test_every_actor_is_evaluated(trained: Path, actor: str) -> None:
    assert "return" in run("evaluate", trained, "--episodes", 2, "--actor", actor)


def test_a_rollout_is_explained_and_kept(trained: Path, tmp_path: Path) -> None:
    table, data = tmp_path / "plans.csv", tmp_path / "data.npz"
    run("rollout", trained, "--explain", table, "--dataset", data)
    played = np.load(data)
    assert SPEC.valid(played["action"]).all()
    assert len(read_curve(table)) == len(played["action"]) == 12
    # What was executed is what the data set says.
    way, speed = SPEC.scaled(played["action"]).T
    moved = (played["next_observation"] - played["observation"])[:, 0]
    np.testing.assert_allclose(moved, 0.1 * way * speed, atol=1e-6)
    found = read_spec(data)
    assert found is not None
    assert found.action == SPEC


@pytest.mark.skipif("MUJOCO_GL" not in os.environ, reason="nothing renders here")
def test_a_rollout_is_filmed(trained: Path, tmp_path: Path) -> None:
    video = tmp_path / "film.mp4"
    run("rollout", trained, "--video", video)
    assert imageio_ffmpeg.count_frames_and_secs(str(video))[0] == 13


def test_the_future_is_imagined(trained: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.png"
    for actor in ("planner", "random"):
        run("imagine", trained, "--horizon", 4, "--actor", actor, "--plot", plot)
        assert plot.stat().st_size > 10_000


def test_a_loaded_agent_acts_as_the_environment_wants_it(trained: Path) -> None:
    agent = load(trained)
    one = agent.act(np.zeros(1))
    assert one.shape == (5,)
    agent.reset()
    native = agent.act(np.zeros(1), scaled=True)
    assert native.tolist() == SPEC.scaled(one).tolist()
    agent.reset()
    many = agent.act(np.zeros((4, 1)), scaled=True)
    assert many.shape == (4, 2)


def test_what_is_collected_is_fitted_and_aims(tmp_path: Path) -> None:
    data, run_dir = tmp_path / "a.npz", tmp_path / "fit"
    settings = [word for word in SMALL if not word.startswith("agent.proposals")]
    for actor in ("noise", "random"):
        run("collect", "--env", ENV, "--steps", 60, "--out", data, "--actor", actor)
        assert SPEC.valid(np.load(data)["action"]).all()
    run("fit", data, *settings, f"run_dir={run_dir}", "--env", ENV, "--updates", 2)
    agent = load(run_dir)
    agent.aim(np.zeros(1))
    assert SPEC.valid(agent.act(np.ones(1)))


def test_a_comparison_wanders_by_choices(tmp_path: Path) -> None:
    played = wander(EnvConfig(id=ENV), 0, tmp_path)
    batch = played.sample(np.random.default_rng(0), 100, 0, 1)
    assert SPEC.valid(batch.action[:, 0].numpy()).all()
    assert batch.action.mean((0, 1)).min() > 0.1


def test_a_data_set_without_choices_is_refused(tmp_path: Path) -> None:
    data, run_dir = tmp_path / "a.npz", tmp_path / "fit"
    run("collect", "--env", ENV, "--steps", 20, "--out", data)
    arrays: dict[str, Any] = dict(np.load(data))
    arrays["action"] = 0.5 * arrays["action"]
    np.savez(data, **arrays)
    said = run("fit", data, *SMALL, f"run_dir={run_dir}", "--env", ENV, "--updates", 2, code=1)
    assert "row 0: expected one-hot choices among 3 and 2 as action" in " ".join(said.split())
    assert not run_dir.exists()


@pytest.mark.parametrize(
    ("model", "planner"),
    [
        ("jepa", "cem"),
        ("ensemble", "icem"),
        ("{kind: autoregressive, action: true}", "random_shooting"),
        ("autoregressive", "mppi"),
    ],
)
def test_every_family_and_every_planner_trains(model: str, planner: str, tmp_path: Path) -> None:
    kept = [w for w in SMALL if not w.startswith(("model.", "planner.iterations"))]
    settings = [*kept, f"model={model}", f"planner={planner}", "model.width=16"]
    config = resolve({"task": "toy", "env": {"id": ENV}, "steps": 44}, settings)
    trainer = Trainer(config, tmp_path, Console(quiet=True))
    trainer.run()
    assert trainer.learner.updates == 44


def test_a_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    """And so the same seed gives the same run."""
    base = {"task": "toy", "env": {"id": ENV}, "steps": 60}
    settings = [*SMALL, "checkpoint_interval=20", "agent.noise_correlation=0.5"]

    def trainer(folder: str, **how: Any) -> Trainer:
        return Trainer(resolve(base, settings), tmp_path / folder, Console(quiet=True), **how)

    trainer("whole").run()
    part = trainer("part")
    run_until_power_cut(part, after=50)
    trainer("part", resume=True).run()
    one, other = (read(find(tmp_path / folder))[0] for folder in ("whole", "part"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
