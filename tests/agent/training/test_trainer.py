"""The training loop: it runs end to end, survives kills, and repeats bit for bit."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers.cut import run_until_power_cut
from tests.helpers.settings import HELPERS
from worldplan.agent import load
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import of_environment
from worldplan.agent.data.seeds import held_out_seeds, training_seed
from worldplan.agent.evaluation.evaluate import Evaluation, evaluate
from worldplan.agent.training import base
from worldplan.agent.training.checkpoint import find, read
from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvConfig, EnvironmentFault, make_vector


def trainer(base: dict[str, Any], overrides: list[str], run_dir: Path, **how: Any) -> Trainer:
    return Trainer(resolve(base, overrides), run_dir, Console(quiet=True), **how)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_run_writes_all_its_files(toy: dict[str, Any], small: list[str], tmp_path: Path) -> None:
    t = trainer(toy, small, tmp_path)
    result = t.run()
    assert t.step == 120
    assert t.learner.updates == 120  # one a step; those of the random start are made when it ends
    assert t.replay.transitions == 120
    rows = read_curve(tmp_path / "curve.csv")
    assert [row["step"] for row in rows] == [48, 60, 72, 84, 96, 108, 120]
    assert all(row["length"] <= 25 for row in rows)
    measures = read_curve(tmp_path / "diagnostics.csv")
    assert [row["step"] for row in measures] == [row["step"] for row in rows]
    assert all(0 <= row["saturated"] <= 1 for row in measures)
    episodes = read_curve(tmp_path / "episodes.csv")
    assert sum(row["length"] for row in episodes) <= 120
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["returns"] == result.returns.tolist()
    assert report["seeds"] == held_out_seeds(2)
    assert list((tmp_path / "logs").iterdir())
    agent = load(tmp_path)
    assert agent.act(np.zeros(2)).shape == (1,)
    for name, value in t.agent.model.state_dict().items():
        torch.testing.assert_close(agent.model.state_dict()[name], value, rtol=0, atol=0)


def test_a_run_repeats_by_seed(toy: dict[str, Any], small: list[str], tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer(toy, [*small, f"seed={seed}", "steps=60"], tmp_path / name).run()
        runs.append(read(find(tmp_path / name))[0])
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])
    assert (tmp_path / "a/curve.csv").read_bytes() == (tmp_path / "b/curve.csv").read_bytes()


def test_a_killed_run_resumes_bit_for_bit(small: list[str], tmp_path: Path) -> None:
    """kill -9, in a process of its own; `tests/attack/test_kills.py` kills more often."""
    command = [
        sys.executable,
        "-c",
        "from worldplan.agent.commands.main import main; main()",
        "train",
    ]
    start = [*command, "--env", "toy_envs:ToyPoint-v0", "steps=120", "checkpoint_interval=30"]
    settings = [*small, "eval_interval=60"]
    here = {**os.environ, "PYTHONPATH": HELPERS, "CUDA_VISIBLE_DEVICES": ""}

    def go(arguments: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            arguments, env=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert go([*start, *settings, f"run_dir={whole}"]).wait(timeout=120) == 0

    process = go([*start, *settings, f"run_dir={killed}"])
    deadline = time.monotonic() + 120
    while not _latest(killed) and process.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.3))
    assert process.poll() is None, "the run ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = go([*command, "--resume", str(killed)])
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out.decode()

    first, second = read(find(whole)), read(find(killed))
    assert same(first[0], second[0])
    assert first[1]["counters"] == second[1]["counters"]
    assert first[1]["sampling"] == second[1]["sampling"]
    for name in ("curve.csv", "diagnostics.csv", "episodes.csv"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()


def _latest(run_dir: Path) -> str:
    file = run_dir / "checkpoints" / "latest"
    return file.read_text() if file.exists() else ""


def test_a_run_with_several_environments_resumes_bit_for_bit(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    """A checkpoint truncates the episodes of the other environments: no simulator is restored."""
    settings = [*small, "num_envs=3", "steps=150", "checkpoint_interval=60"]
    trainer(toy, settings, tmp_path / "whole").run()
    part = trainer(toy, settings, tmp_path / "part")
    run_until_power_cut(part)
    trainer(toy, settings, tmp_path / "part", resume=True).run()
    assert same(read(find(tmp_path / "whole"))[0], read(find(tmp_path / "part"))[0])


def test_a_signal_finishes_the_step_and_saves(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    t = trainer(toy, [*small, "steps=100000", "checkpoint_interval=100000"], tmp_path)
    update = t._update

    def interrupted() -> dict[str, torch.Tensor]:
        if t.step == 60:
            os.kill(os.getpid(), signal.SIGTERM)
        return update()

    t._update = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        t.run()
    assert find(tmp_path).name == "step_000000060"
    assert t.replay.transitions == 60


def test_it_stops_when_solved(toy: dict[str, Any], small: list[str], tmp_path: Path) -> None:
    t = trainer(toy, [*small, "solved=-1000"], tmp_path)
    t.run()
    assert t.stop == "solved"
    assert t.step == 48  # the first evaluation after the random start
    assert json.loads((tmp_path / "result.json").read_text())["solved"] is True


def test_a_few_good_episodes_do_not_solve_it(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    said = io.StringIO()
    config = resolve(toy, [*small, "solved=-1000"])
    t = Trainer(config, tmp_path, Console(file=said, width=200))
    more = t.held_out.final

    def one_fails() -> Evaluation:
        found = more()
        found.returns[-1] = -2000
        return found

    t.held_out.final = one_fails  # type: ignore[method-assign]
    t.run()
    assert t.stop is None
    assert t.step == config.steps
    told = f"of {config.final_episodes} held-out episodes one returns -2000.0, expected -1000.0"
    assert said.getvalue().count(told) == len(read_curve(tmp_path / "curve.csv"))


def test_updates_per_step(toy: dict[str, Any], small: list[str], tmp_path: Path) -> None:
    t = trainer(toy, [*small, "updates_per_step=0.5", "steps=80"], tmp_path)
    t.run()
    assert t.learner.updates == 40


def test_a_fault_of_the_simulator_ends_the_run_and_saves_it(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    toy["env"]["kwargs"] = {"fault_at": 20}
    t = trainer(toy, [*small, "checkpoint_interval=10"], tmp_path)
    with pytest.raises(EnvironmentFault, match="step 20"):
        t.run()
    assert t.replay.transitions == t.step > 0  # all but the faulty step
    resumed = trainer(toy, [*small, "checkpoint_interval=10"], tmp_path, resume=True)
    assert resumed.step == resumed.replay.transitions == t.step
    assert resumed.episode == t.episode  # and the next one is another


def test_collapse_warns_once_and_tensorboard_has_the_settings(
    toy: dict[str, Any], small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "collapse_warning", lambda measures, dimensions: "it COLLAPSED")
    said = io.StringIO()
    config = resolve(toy, [*small, "steps=80", "log_interval=10", "eval_interval=80"])
    Trainer(config, tmp_path, Console(file=said)).run()
    assert said.getvalue().count("COLLAPSED") == 1
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert {"model/effective_rank", "model/embedding_std", "model/latent_sensitivity"} <= set(
        events.Tags()["scalars"]
    )
    settings = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"agent.planner.horizon" in settings


def test_the_replay_stores_terminations_and_time_limits(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    """Time limits are not terminations: the value must bootstrap through them."""
    t = trainer(toy, small, tmp_path)
    t.run()
    batch = t.replay.sample(np.random.default_rng(0), 512, 0, 1)
    fallen = batch.observation[:, 1, 0].abs() > 2
    assert torch.equal(batch.terminated[:, 0].bool(), fallen)


def test_evaluation_does_not_explore_and_repeats(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    t = trainer(toy, small, tmp_path)
    t.run()
    env = make_vector(EnvConfig(id="toy_envs:ToyPoint-v0"), 4)
    first, second = (evaluate(t.agent, env, held_out_seeds(4)) for _ in range(2))
    np.testing.assert_array_equal(first.returns, second.returns)
    random_ = evaluate(t.agent, env, held_out_seeds(4), "random")
    assert not np.array_equal(first.returns, random_.returns)
    with pytest.raises(ValueError, match="expected 4 seeds"):
        evaluate(t.agent, env, held_out_seeds(3))


def test_seeds_of_training_and_evaluation_differ() -> None:
    held_out = set(held_out_seeds(1000))
    training = {training_seed(run, episode) for run in range(5) for episode in range(500)}
    assert len(held_out) == 1000
    assert not held_out & training
    assert held_out_seeds(5) == held_out_seeds(1000)[:5]


def test_plans_for_nothing_are_refused_before_training(
    toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    """Without reward heads there is something to act for only where the task sets goals."""
    small.append("learner.task_heads=false")
    with pytest.raises(ValueError, match="task_heads=false learns no reward, and this task sets"):
        trainer(toy, small, tmp_path / "run")
    assert not list(tmp_path.iterdir())
    rooms = {"task": "rooms", "env": {"id": "worldplan/TwoRooms-v0"}}
    t = trainer(rooms, [*small, "steps=2", "seed_steps=1"], tmp_path / "run")
    assert t.env.spec.sets_goals
    t.run()
    assert t.step == 2


@pytest.mark.parametrize(("repeat", "told"), [(1, True), (4, False)])
def test_a_decision_in_which_little_changes_is_told(
    tmp_path: Path, small: list[str], repeat: int, told: bool
) -> None:
    out = io.StringIO()
    config = resolve(of_environment("Hopper-v5"), [*small, f"env.action_repeat={repeat}"])
    Trainer(config, tmp_path / "run", Console(file=out, width=200)).end()
    assert ("a decision lasts 8 ms" in out.getvalue()) == told
    assert ("env.action_repeat=4" in out.getvalue()) == told
