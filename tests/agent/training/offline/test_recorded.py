"""What a run starts with: another one's weights, recorded episodes; and learning offline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.helpers.commands import run
from tests.helpers.cut import run_until_power_cut
from tests.helpers.settings import SMALL
from worldplan.agent import load
from worldplan.agent.acting.collect import collect
from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.dataset import write_dataset
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.evaluate import evaluate
from worldplan.agent.training.checkpoint import find, read
from worldplan.agent.training.offline.fit import fit
from worldplan.agent.training.restore import config_of
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvConfig, EnvironmentSpec, make_env, make_vector

ENV = "toy_envs:ToyPoint-v0"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 random transitions of the toy."""
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    config = EnvConfig(id=ENV)
    write_dataset(path, collect(config, 200, "random"), EnvironmentSpec.of(make_env(config)))
    return path


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the toy."""
    run_dir = tmp_path_factory.mktemp("runs") / "before"
    run("train", "--env", ENV, *SMALL, "steps=60", f"run_dir={run_dir}")
    return run_dir


def trainer(run_dir: Path, *settings: str, **how: Any) -> Trainer:
    base = {"task": "toy", "env": {"id": ENV}, "steps": 80}
    config = resolve(base, [*SMALL, "checkpoint_interval=20", *settings])
    return Trainer(config, run_dir, Console(quiet=True), **how)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_run_starts_with_the_weights_of_another(before: Path, tmp_path: Path) -> None:
    tensors, _ = read(find(before))
    t = trainer(tmp_path / "after", f"start_from={before}")
    assert all(torch.equal(v, tensors[k]) for k, v in t.agent.weights().items())
    for name, value in t.learner.model.state_dict().items():
        assert torch.equal(value, tensors[f"learner.model.{name}"])
    assert t.step == t.learner.updates == 0
    _, _, plan = t.actor.act(torch.zeros(1, 2), t.actor.initial(1), t.acting)
    assert plan is not None, "no decision is random"


def test_recorded_episodes_are_in_the_replay_from_the_start(data: Path, tmp_path: Path) -> None:
    t = trainer(tmp_path / "run", f"data={data}")
    assert t.replay.transitions == 200
    batch = t.replay.sample(np.random.default_rng(0), 100, 0, 1)
    x = batch.observation[:, 1, 0]
    torch.testing.assert_close(batch.reward[:, 0], 1 - x.abs())
    assert float(t.agent.model.normaliser.count) > 200  # type: ignore[union-attr, arg-type]
    t.run()
    assert t.replay.transitions == 280


def test_such_a_run_resumes_bit_for_bit_without_what_it_started_with(
    before: Path, data: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied.npz"
    copied.write_bytes(data.read_bytes())
    settings = [f"start_from={before}", f"data={copied}"]
    trainer(tmp_path / "whole", *settings).run()
    part = trainer(tmp_path / "part", *settings)
    run_until_power_cut(part)
    copied.unlink()
    saved = config_of(tmp_path / "part")
    Trainer(saved, tmp_path / "part", Console(quiet=True), resume=True).run()
    assert same(*(read(find(tmp_path / folder))[0] for folder in ("whole", "part")))


def test_the_command_takes_over_networks_and_task(before: Path, tmp_path: Path) -> None:
    run("train", "--from", before, "steps=45", f"run_dir={tmp_path / 'own'}")
    assert config_of(tmp_path / "own").env.id == ENV
    other = [w for w in SMALL if not w.startswith(("model.", "heads."))]
    run(
        *("train", "--from", before, "--env", ENV, *other, "steps=45"),
        f"run_dir={tmp_path / 'given'}",
    )
    given = config_of(tmp_path / "given")
    assert given.agent.model == config_of(before).agent.model
    assert given.start_from == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("env.id=toy_envs:ToyLevers-v0", "expected a run with the same observations"),
        ("model.width=32", "expected a run with the same model"),
        ("heads.values=3", "expected a run with the same heads"),
    ],
)
def test_another_kind_of_run_is_refused_and_leaves_nothing(
    before: Path, tmp_path: Path, setting: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path / "run", f"start_from={before}", setting)
    assert not (tmp_path / "run").exists()


def test_data_of_another_task_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data set"):
        trainer(tmp_path / "run", f"data={data}", "env.id=toy_envs:ToyLevers-v0")


def test_rewards_are_learned_only_if_there_are_any(data: Path, tmp_path: Path) -> None:
    arrays = {name: value for name, value in np.load(data).items() if name != "reward"}
    np.savez(tmp_path / "bare.npz", **arrays)
    said = run("fit", tmp_path / "bare.npz", "--env", ENV, *SMALL, "--rewards", code=1)
    assert "has none, or only zeros" in " ".join(said.split())
    run(
        *("fit", data, "--env", ENV, *SMALL, "--rewards", "--updates", 2),
        f"run_dir={tmp_path / 'fit'}",
    )
    assert load(tmp_path / "fit").has_policy


@pytest.mark.slow
def test_an_agent_learns_a_task_from_random_data_alone(tmp_path: Path) -> None:
    """Of 25 steps of the toy at most 25 can be had; random actions get about 5."""
    base = {"task": "toy", "env": {"id": ENV}, "steps": 80}
    episodes = collect(EnvConfig(id=ENV), 3000, "random")
    config = resolve(base, ["compile=off", "threads=1", "learner.batch_size=64"])
    agent = fit(config, episodes, tmp_path / "fit", 600, Console(quiet=True))
    world = make_vector(config.env, 10)
    random = evaluate(agent, world, held_out_seeds(10), "random").returns
    planned = evaluate(agent, world, held_out_seeds(10), "planner").returns
    assert planned.mean() > 22
    assert random.mean() < 15
