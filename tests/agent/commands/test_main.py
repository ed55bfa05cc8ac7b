"""The commands, called as a user calls them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from tests.helpers.commands import run
from worldplan.agent.config.presets import tasks
from worldplan.agent.data.seeds import held_out_seeds
from worldplan.agent.evaluation.shown import shown
from worldplan.agent.training.checkpoint import find
from worldplan.envs import choose_backend


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the toy, small enough for a test."""
    from tests.helpers.settings import SMALL

    run_dir = tmp_path_factory.mktemp("runs") / "toy"
    said = run(
        "train", "--env", "toy_envs:ToyPoint-v0", *SMALL, "steps=60", f"run_dir={run_dir}"
    )  # fmt: skip
    for what in ("done after 60 steps", "checkpoint", "curve.png", "tensorboard --logdir"):
        assert what in said
    return run_dir


def test_train_writes_every_file_that_it_prints(trained: Path) -> None:
    for name in (
        "config.yaml",
        "curve.csv",
        "curve.png",
        "diagnostics.csv",
        "episodes.csv",
        "result.json",
        "logs",
    ):
        assert (trained / name).exists(), name


def test_train_refuses_to_write_over_a_run(trained: Path) -> None:
    said = run("train", "--env", "toy_envs:ToyPoint-v0", f"run_dir={trained}", code=1)
    assert f"worldplan train --resume {trained}" in said


def test_resume_takes_no_settings_but_more_steps(trained: Path) -> None:
    said = run("train", "--resume", str(trained), "steps=70", "seed=3", code=1)
    assert "a run that goes on has its own settings; expected none but steps, got seed" in said
    assert "to train anew with its weights: worldplan train --from RUN KEY=VALUE" in said
    said = run("train", "--resume", str(trained), "steps=50", code=1)
    assert "expected at least the run's 60 steps, got 50" in said
    said = run("train", "--resume", str(trained), "steps=many", code=1)
    assert "steps" in said
    assert "many" in said
    said = run("train", "--resume", str(trained), "--from", str(trained), code=1)
    assert "expected --resume or --from, got both" in said


@pytest.mark.parametrize("actor", ["planner", "policy", "random"])
def test_evaluate(trained: Path, tmp_path: Path, actor: str) -> None:
    out = tmp_path / "e.json"
    said = run("evaluate", str(trained), "--actor", actor, "--episodes", "3", "--out", str(out))
    report = json.loads(out.read_text())
    assert {"mean", "std", "iqm", "ci95", "returns", "seeds"} <= report.keys()
    assert report["seeds"] == held_out_seeds(3)
    assert np.isclose(report["mean"], np.mean(report["returns"]))
    assert f"mean return {shown(report['mean'])}" in said
    again = tmp_path / "again.json"
    run("evaluate", str(trained), "--actor", actor, "--episodes", "3", "--out", str(again))
    assert json.loads(again.read_text()) == report


def test_rollout_writes_transitions(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "data.npz"
    said = run("rollout", str(trained), "--dataset", str(out), "--episodes", "2")
    data = np.load(out)  # would refuse anything pickled
    count = len(data["reward"])
    assert f"{count} transitions" in said
    assert data["observation"].shape == data["next_observation"].shape == (count, 2)
    inside = data["episode"][1:] == data["episode"][:-1]
    np.testing.assert_array_equal(
        data["observation"][1:][inside], data["next_observation"][:-1][inside]
    )
    ends = data["terminated"] | data["truncated"]
    assert ends.sum() == 2
    assert ends[-1]


def test_rollout_films_without_a_display(tmp_path: Path) -> None:
    """In a process of its own: MuJoCo chooses its renderer only once."""
    from tests.helpers.settings import SMALL

    try:
        choose_backend()
    except ValueError as error:
        pytest.skip(str(error))
    run_dir, video = tmp_path / "run", tmp_path / "out.mp4"
    run("train", "--env", "InvertedPendulum-v5", *SMALL, "steps=45", f"run_dir={run_dir}")
    code = "from worldplan.agent.commands.main import main; main()"
    words = ["rollout", str(run_dir), "--video", str(video)]
    subprocess.run([sys.executable, "-c", code, *words], check=True)
    film = imageio_ffmpeg.read_frames(str(video))
    assert next(film)["size"] == (480, 480)
    assert max(next(film)) > 50  # it is not black


def test_tasks_lists_every_preset() -> None:
    said = run("tasks")
    for name, task in tasks().items():
        assert re.search(rf"^{name} .*{task.env_id}", said, re.MULTILINE), name


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["train"], "expected a preset"),
        (["train", "cheeta-run"], "Did you mean 'cheetah-run'"),
        (["train", "hopper", "--env", "Hopper-v5"], "a preset or --env ID, got both: 'hopper'"),
        (["train", "hopper", "sede=3"], "Did you mean 'seed'"),
        (["train", "--env", "HalfCheeta-v5"], "Did you mean 'HalfCheetah-v5'"),
        (["train", "cartpole", "planner=gradient", "compile=off"], "mppi or random_shooting"),
        (["train", "--env", "no_such_module:X-v0"], "cannot import 'no_such_module'"),
        (["evaluate", "no/such/run"], "no run at no/such/run"),
    ],
)
def test_mistakes_end_in_one_line(
    words: list[str], answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run(*words, code=1)
    assert answer in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir()), "a mistake leaves no file"


def test_a_checkpoint_cannot_be_resumed(trained: Path) -> None:
    said = run("train", "--resume", str(find(trained)), code=1)
    assert f"expected the run {trained} to resume" in said
    assert not (find(trained) / "replay").exists()


def test_files_to_write_are_checked_before_the_work(trained: Path, tmp_path: Path) -> None:
    for words in (("--dataset", "data"), ("--video", "film.gif")):
        said = run("rollout", str(trained), words[0], str(tmp_path / words[1]), code=1)
        assert "expected a file that ends in" in said
    assert "ends in .json" in run("evaluate", str(trained), "--out", str(tmp_path), code=1)
    out = tmp_path / "new" / "e.json"
    run("evaluate", str(trained), "--episodes", "1", "--out", str(out))
    assert out.exists()


def test_mistakes_of_rollout_and_evaluate_are_explained(trained: Path) -> None:
    assert "expected --video" in run("rollout", str(trained), code=1)
    assert "Did you mean 'policy'" in run("evaluate", str(trained), "--actor", "polici", code=1)
