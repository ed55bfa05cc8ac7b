"""collect and fit with any environment, and what every command takes."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.helpers.commands import run
from tests.helpers.settings import SMALL
from worldplan.agent.commands.terminal import task_names
from worldplan.agent.data.dataset import read_dataset

SETTINGS = [word for word in SMALL if not word.startswith("agent.proposals")]


def test_collect_and_fit_take_an_environment(tmp_path: Path) -> None:
    data, run_dir, env = tmp_path / "a.npz", tmp_path / "fit", ("--env", "toy_envs:ToyPoint-v0")
    run("collect", "seed=3", *env, "--steps", 60, "--out", data)
    words = (data, *SETTINGS, f"run_dir={run_dir}", *env, "--updates", 2)
    said = run("fit", *words)
    # Nothing but a goal could be planned for, and this task sets none.
    assert "worldplan evaluate" not in said
    assert "agent.aim(" in said
    assert "has nothing to act for" in run("evaluate", run_dir, "--episodes", 1, code=1)


def test_fit_advises_to_evaluate_where_a_task_sets_goals(tmp_path: Path) -> None:
    data, run_dir = tmp_path / "a.npz", tmp_path / "fit"
    run("collect", "two-rooms", "--steps", 60, "--out", data)
    said = run("fit", "two-rooms", data, *SETTINGS, f"run_dir={run_dir}", "--updates", 2)
    assert f"next: worldplan evaluate {run_dir}" in said


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("train", "run_dir=x"), "the task comes first"),
        (("collect", "seed=3"), "the task comes first"),
        (("collect",), "expected a preset"),
        (("collect", "reach", "--env", "X-v0"), "a preset or --env ID, got both"),
        (("collect", "two-rooms", "steps=2000"), "--steps N, got steps=2000"),
        (("collect", "two-rooms", "model.context=2"), "model.context=2 would change nothing"),
        (("collect", "two-rooms", "num_envs=4"), "num_envs=4 would change nothing"),
        (("fit", "two-rooms", "a.npz", "steps=2000"), "fit does not take steps=2000"),
        (("fit", "two-rooms", "a.npz", "data=b.npz"), "fit does not take data=b.npz"),
        (("fit", "two-rooms", "a.npz", "start_from=runs/X"), "fit does not take start_from=runs/X"),
        (("fit", "two-rooms"), "expected TASK DATASET"),
        (("fit", "seed=3", "a.npz"), "expected TASK DATASET"),
    ],
)
def test_mistakes_end_in_one_line(words: tuple[str, ...], answer: str) -> None:
    said = run(*words, code=1)
    assert answer in said
    assert said.count("\n") == 1


def test_a_damaged_data_set_is_one_line(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    run("collect", "two-rooms", "--steps", 60, "--out", whole)
    content = whole.read_bytes()
    for i in range(0, len(content), max(1, len(content) // 12)):
        damaged = tmp_path / "[bold] a.npz"
        damaged.write_bytes(content[:i] + bytes([content[i] ^ 0xFF]) + content[i + 1 :])
        try:
            read_dataset(damaged)
        except Exception:  # noqa: BLE001 (whatever it is)
            said = run("fit", "two-rooms", damaged, f"run_dir={tmp_path / 'run'}", code=1)
            assert said.count("\n") == 1
            assert str(damaged) in said
            assert not (tmp_path / "run").exists()


def test_the_version_is_told() -> None:
    assert run("--version") == f"worldplan {version('worldplan')}\n"


def test_shells_complete_tasks() -> None:
    assert task_names("cheetah") == ["cheetah-run"]
    shown = re.sub(r"\x1b\[[\d;]*m", "", run("--help"))
    assert "--install-completion" in shown
