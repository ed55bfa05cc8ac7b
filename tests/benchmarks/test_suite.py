"""benchmarks/suite.py: all combinations are run, cut-off runs go on, small files are kept."""

import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks.scripts import script


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    return script("suite")


def test_the_first_seed_of_everything_comes_first(suite: ModuleType, tmp_path: Path) -> None:
    variants = ["", "updates_per_step=2 learner.batch_size=256"]
    campaign = suite.Campaign(["hopper", "walker2d"], ["steps=10"], variants, [0, 3])
    jobs = campaign.jobs(tmp_path)
    fast = "updates_per_step=2-learner.batch_size=256"
    expected = [
        f"{task}/{variant}seed-{seed}"
        for seed in (0, 3)
        for variant in ("", f"{fast}/")
        for task in ("hopper", "walker2d")
    ]
    assert [job.name for job in jobs] == expected
    words = jobs[-1].command()
    assert words == [
        *(
            "worldplan",
            "train",
            "walker2d",
            "seed=3",
            "threads=1",
            "steps=10",
            "updates_per_step=2",
        ),
        *("learner.batch_size=256", f"run_dir={tmp_path / 'walker2d' / fast / 'seed-3'}"),
    ]


def test_bad_words_are_told_before_the_first_run(suite: ModuleType, tmp_path: Path) -> None:
    for words, said in (
        (["hoper"], "Did you mean 'hopper'"),
        (["hopper", "stepz=1"], "Did you mean 'steps'"),
        (["hopper", "--seeds", "0,x"], "whole numbers separated by commas as --seeds, got '0,x'"),
        (["steps=10"], "at least one task"),
        (["hopper", "--variant", "steps=many"], "steps"),
        (["hopper", "--on", "roy"], "expected local, ray or ray://HOST:PORT as --on, got 'roy'"),
    ):
        with pytest.raises(SystemExit, match=said):
            suite.main([*words, "--out", str(tmp_path)])
    assert not list(tmp_path.rglob("*.log"))


def test_a_campaign_is_finished_and_kept(
    suite: ModuleType, tmp_path: Path, small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept"
    words = ["inverted-pendulum", *small, "steps=60", "--jobs", "2", "--out", str(out)]
    words += ["--variant", "", "--variant", "planner.horizon=2", "--keep", str(kept)]
    suite.main(words)
    assert "2 runs in" in capsys.readouterr().out
    results = sorted(kept.rglob("result.json"))
    assert [path.parent.relative_to(kept).as_posix() for path in results] == [
        "inverted-pendulum/planner.horizon=2/seed-0", "inverted-pendulum/seed-0"
    ]  # fmt: skip
    assert all(json.loads(path.read_text())["step"] == 60 for path in results)
    assert str(tmp_path) not in (results[0].parent / "config.yaml").read_text()
    assert {path.name for path in results[0].parent.iterdir()} == set(suite.KEPT)

    # One run was cut off: it goes on from its checkpoint, and the other is left alone.
    again, other = out / "inverted-pendulum/seed-0", out / "inverted-pendulum/planner.horizon=2"
    before = other.stat().st_mtime_ns
    (again / "result.json").unlink()
    saved = {path: path.stat().st_mtime_ns for path in (again / "checkpoints").rglob("*.json")}
    suite.main(words[:-2])
    assert "1 done" in capsys.readouterr().out
    assert json.loads((again / "result.json").read_text())["step"] == 60
    assert other.stat().st_mtime_ns == before
    # Begun anew, it would have saved its start.
    now = {path: path.stat().st_mtime_ns for path in (again / "checkpoints").rglob("*.json")}
    assert saved.items() <= now.items()

    with pytest.raises(SystemExit, match="made with other settings"):
        suite.main(["learner.rho=0.9", *words])

    # On another machine, which has nothing but what was kept, all is done already.
    shutil.rmtree(out)
    suite.main(words)
    assert "2 done" in capsys.readouterr().out
    assert not list(out.rglob("*.csv"))
    with pytest.raises(SystemExit, match="made with other settings"):
        suite.main(["learner.rho=0.9", *words])
