"""Data sets without rewards: collect, write, read; and models trained from triples alone."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.helpers.commands import run
from tests.helpers.small_models import make, noise_batch, rng
from worldplan.agent import Agent, load
from worldplan.agent.acting.collect import collect
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset
from worldplan.agent.config.run import RunConfig
from worldplan.agent.data.dataset import Episode, read_dataset, write_dataset
from worldplan.agent.data.minari import minari_spec, read_minari
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.evaluate import evaluate
from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.offline.fit import TRIPLES_ALONE, Fit, fit
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvConfig, make_vector

TOY = EnvConfig(id="toy_envs:ToyPoint-v0")
ROOMS = ["planner.samples=32", "planner.horizon=3", "model.width=16", "learner.batch_size=32"]


def same(a: list[Episode], b: list[Episode]) -> bool:
    names = "observation", "action", "reward", "terminated", "truncated"
    return len(a) == len(b) and all(
        np.array_equal(getattr(e, name), getattr(f, name))
        for e, f in zip(a, b, strict=True)
        for name in names
    )


def test_collect_makes_the_given_steps_and_repeats_by_seed() -> None:
    episodes = collect(TOY, 60, "noise", seed=1)
    assert sum(len(e.action) for e in episodes) == 60
    assert episodes[-1].truncated, "cut off where the steps end"
    assert all(e.terminated == (abs(e.observation[-1, 0]) > 2) for e in episodes)
    assert same(episodes, collect(TOY, 60, "noise", seed=1))
    assert not same(episodes, collect(TOY, 60, "noise", seed=2))
    for e in episodes:  # x' = x + v', v' = 0.9 v + 0.2 a
        x, v = e.observation.T
        np.testing.assert_allclose(v[1:], 0.9 * v[:-1] + 0.2 * e.action[:, 0], atol=1e-6)
        np.testing.assert_allclose(x[1:], x[:-1] + v[1:], atol=1e-6)


def test_noise_is_correlated_in_time_and_random_is_not() -> None:
    def persistence(actor: Any) -> float:
        """Correlation of neighbouring actions."""
        a = [e.action[:, 0] for e in collect(TOY, 500, actor)]
        before, after = (np.concatenate([u[k : len(u) - 1 + k] for u in a]) for k in (0, 1))
        return float(np.corrcoef(before, after)[0, 1])

    assert abs(persistence("random")) < 0.1
    assert persistence("noise") > 0.4


def test_a_data_set_is_read_as_written(tmp_path: Path) -> None:
    episodes = collect(EnvConfig(id="toy_envs:ToyPoint-v0", kwargs={"limit": 5}), 300, "noise")
    assert 0 < sum(e.terminated for e in episodes) < len(episodes)
    count = write_dataset(tmp_path / "data.npz", episodes)
    assert count == 300
    assert same(read_dataset(tmp_path / "data.npz"), episodes)


def test_a_data_set_needs_no_rewards(tmp_path: Path) -> None:
    episodes = collect(TOY, 30, "random")
    write_dataset(tmp_path / "data.npz", episodes)
    arrays = dict(np.load(tmp_path / "data.npz"))
    for name in ("reward", "terminated", "truncated"):
        del arrays[name]
    np.savez(tmp_path / "bare.npz", **arrays)
    for e, whole in zip(read_dataset(tmp_path / "bare.npz"), episodes, strict=True):
        np.testing.assert_array_equal(e.observation, whole.observation)
        assert not e.reward.any()
        assert (e.terminated, e.truncated) == (False, True)


def test_a_file_that_is_not_a_data_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, observation=np.zeros((3, 2)), action=np.zeros((3, 1)))
    with pytest.raises(ValueError, match="has no episode, next_observation; expected"):
        read_dataset(path)
    three = np.zeros((3, 1))
    np.savez(path, observation=three, action=three, next_observation=three, episode=np.zeros(4))
    with pytest.raises(ValueError, match="one row a transition in each array"):
        read_dataset(path)
    path.write_text("x")
    with pytest.raises(ValueError, match=r"is no \.npz"):
        read_dataset(path)
    with pytest.raises(FileNotFoundError):
        read_dataset(tmp_path / "nowhere.npz")


def toy_config(*overrides: str) -> RunConfig:
    small = [
        "model.embedding=16",
        "model.width=16",
        "learner.batch_size=32",
        "compile=off",
        "threads=1",
    ]
    base = {"task": "toy", "env": TOY.model_dump()}
    return resolve(base, [*small, "model.anti_collapse=vicreg", *overrides, *TRIPLES_ALONE])


def test_fit_learns_from_triples_alone_and_repeats_by_seed(tmp_path: Path) -> None:
    episodes = collect(TOY, 200, "noise")
    quiet = Console(quiet=True)
    agent = fit(toy_config(), episodes, tmp_path / "a", 60, quiet)
    # Rewards are not used: other rewards give the same model.
    other = [Episode(e.observation, e.action, e.reward + 7, False, True) for e in episodes]
    again = fit(toy_config(), other, tmp_path / "b", 60, quiet)
    another = fit(toy_config("seed=1"), episodes, tmp_path / "c", 60, quiet)
    weights, same_, differs = (a.model.state_dict() for a in (agent, again, another))
    measured, plain = agent.controller.ruler, torch.eye(agent.model.embedding_dim)
    assert measured.equal(again.controller.ruler)
    assert not measured.equal(plain), "steps were measured"
    assert all(torch.equal(v, same_[k]) for k, v in weights.items())
    assert not all(torch.equal(v, differs[k]) for k, v in weights.items())
    curve = read_curve(tmp_path / "a" / "fit.csv")
    assert [row["step"] for row in curve] == list(range(6, 61, 6))
    assert curve[-1]["model_error"] < curve[0]["model_error"]
    loaded = load(tmp_path / "a")
    assert all(torch.equal(v, weights[k]) for k, v in loaded.model.state_dict().items())
    assert loaded.controller.ruler.equal(measured)
    older = {k: v for k, v in loaded.weights().items() if k != "ruler"}
    loaded.load_weights(older)
    assert loaded.controller.ruler.equal(plain), "they measured no steps"
    loaded.aim([0.5, 0.0])
    assert loaded.act([0.0, 0.0]).shape == (1,)


def test_a_diverged_fit_leaves_no_checkpoint(tmp_path: Path) -> None:
    fitting = Fit(toy_config(), collect(TOY, 30, "noise"), tmp_path, 1, Console(quiet=True))
    fitting.learner.parameters[0].data.fill_(np.nan)
    with pytest.raises(FloatingPointError, match="diverged by step 1"):
        fitting.run()
    assert not (tmp_path / "checkpoints").exists()


def test_fit_refuses_data_of_another_task(tmp_path: Path) -> None:
    blank = np.zeros((3, 3), np.float32), np.zeros((2, 1), np.float32), np.zeros(2, np.float32)
    with pytest.raises(ValueError, match=r"observations of \(2,\).*the data set has \(3,\)"):
        fit(toy_config(), [Episode(*blank, False, True)], tmp_path, 1, Console(quiet=True))


def test_heads_do_not_change_without_rewards() -> None:
    learner = make(3, 2, task_heads=False)
    before = {k: v.clone() for k, v in learner.heads.state_dict().items()}
    model = {k: v.clone() for k, v in learner.model.state_dict().items()}
    metrics = learner.update(noise_batch(learner), rng())
    assert "reward" not in metrics
    assert all(torch.equal(v, before[k]) for k, v in learner.heads.state_dict().items())
    assert not all(torch.equal(v, model[k]) for k, v in learner.model.state_dict().items())


def test_slowness_is_the_embeddings_squared_step() -> None:
    fast, slow = (make(3, 2, {"anti_collapse": "none", "slowness": w}) for w in (0.0, 3.0))
    batch = noise_batch(fast)
    noise = fast._noise(len(batch.reward), rng())

    def loss(learner: Any) -> Any:
        return learner.losses(batch, learner.value_scale, noise)

    (without, _, _), (with_, metrics, _) = loss(fast), loss(slow)
    h = fast.model.encode(batch.observation)
    step = (h[:, 1] - h[:, 0]).square().mean(-1) * batch.valid[:, 0]
    assert metrics["slowness"].item() == pytest.approx(step.mean().item(), rel=1e-5)
    assert (with_ - without).item() == pytest.approx(20 * 3 * step.mean().item(), rel=1e-3)


def test_collect_fit_evaluate_as_commands(tmp_path: Path) -> None:
    data, run_dir = tmp_path / "rooms.npz", tmp_path / "run"
    said = run("collect", "two-rooms", "--steps", "120", "--out", str(data), "seed=2")
    assert "120 transitions of 3 episodes" in said
    said = run(
        "fit", "two-rooms", str(data), "--updates", "10", *ROOMS, f"run_dir={run_dir}", "threads=1"
    )
    assert f"worldplan evaluate {run_dir}" in said
    assert "mean return" in run("evaluate", str(run_dir), "--episodes", "2")
    again = run("fit", "two-rooms", str(data), f"run_dir={run_dir}", code=1)
    assert "already holds a run" in again
    assert "--resume" not in again  # which is for what was trained
    assert "no collector is called 'nose'. Did you mean 'noise'" in run(
        "collect", "two-rooms", "--actor", "nose", code=1
    )


def test_evaluation_aims_at_each_episodes_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve(load_preset("two-rooms"), [*ROOMS, *TRIPLES_ALONE])
    env = make_vector(config.env, 2)
    agent = Agent(config.agent, env.spec)
    aims, decide = [], agent.controller.decide

    def watched(
        x: Any, state: Any, noise: Any, goal: Any, scale: Any, objective: Any, *how: Any
    ) -> Any:
        aims.append((goal, objective))
        return decide(x, state, noise, goal, scale, objective, *how)

    monkeypatch.setattr(agent.controller, "_whole", watched)
    monkeypatch.setattr(agent.controller, "_plainly", watched)
    evaluate(agent, env, held_out_seeds(2))
    goals = env.goals()
    assert goals is not None
    assert aims
    for goal, _ in aims:
        np.testing.assert_array_equal(goal.numpy(), goals)
    assert agent.controller.goal is None  # it is the episode's, not the agent's
    agent.minimise(lambda x: x[..., 0], lambda f: f)  # a user's own objective stays
    aims.clear()
    evaluate(agent, env, held_out_seeds(2))
    assert {objective for _, objective in aims} == {agent.controller.objective}


def test_training_and_its_evaluations_aim_at_goals(tmp_path: Path, small: list[str]) -> None:
    config = resolve(load_preset("two-rooms"), [*small, "planner.horizon=3", "steps=90"])
    trainer = Trainer(config, tmp_path, Console(quiet=True))
    seen, choose = [], trainer.actor.choose

    def watched(x: Any, state: Any, generator: Any) -> Any:
        seen.append(state.goal)
        return choose(x, state, generator)

    trainer.actor.choose = watched  # type: ignore[assignment,method-assign]
    trainer.run()
    goals = trainer.env.goals()
    assert goals is not None
    np.testing.assert_array_equal(seen[-1].numpy(), goals)


def test_minari_without_minari(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ValueError, match=r"needs: pip install 'worldplan\[minari\]'"):
        read_minari("toy/points-v0")


@pytest.mark.skipif(not importlib.util.find_spec("minari"), reason="needs worldplan[minari]")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_minari_data_set_made_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import minari
    from gymnasium import spaces
    from minari.data_collector.episode_buffer import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    rng = np.random.default_rng(0)
    made = []
    for length in (4, 6):
        place, speed = rng.normal(size=(length + 1, 2)), rng.normal(size=length + 1)
        flags = [False] * (length - 1)
        made.append(
            EpisodeBuffer(
                id=None,
                observations={"place": list(place), "speed": list(speed[:, None])},
                actions=list(rng.uniform(0, 2, (length, 1))),
                rewards=[0.5] * length,
                terminations=[*flags, length == 4],
                truncations=[*flags, length == 6],
            )
        )
    box = spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(-np.inf, np.inf, (1,))
    minari.create_dataset_from_buffers(
        dataset_id="toy/points-v0",
        buffer=made,
        observation_space=spaces.Dict({"place": box[0], "speed": box[1]}),
        action_space=spaces.Box(0, 2, (1,)),
    )
    read = read_minari("toy/points-v0")
    assert [(len(e.action), e.terminated, e.truncated) for e in read] == [
        (4, True, False),
        (6, False, True),
    ]
    for e, buffer in zip(read, made, strict=True):
        parts: Any = buffer.observations
        expected = np.concatenate([np.array(parts["place"]), np.array(parts["speed"])], 1)
        np.testing.assert_allclose(e.observation, expected, rtol=1e-6)
        np.testing.assert_allclose(e.action, np.array(buffer.actions) - 1, atol=1e-6)
        assert e.reward.tolist() == [0.5] * len(e.action)
    spec = minari_spec("toy/points-v0")
    assert spec.observation.parts == (("place", 2), ("speed", 1))
    assert (spec.action.low, spec.action.high) == ((0,), (2,))
    with pytest.raises(ValueError, match="no Minari data set 'toy/none-v0' on this disk"):
        read_minari("toy/none-v0")
