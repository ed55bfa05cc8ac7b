"""LeRobot data sets, as they stand on the disk and on the Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.helpers.commands import run
from tests.helpers.data.lerobot import FILES, Frames, frames, write_frames, write_lerobot
from tests.helpers.servers.hub import hub_server
from tests.helpers.settings import HELPERS, SMALL
from worldplan.agent.data.lerobot import read_lerobot
from worldplan.envs import ActionSpec

pytest.importorskip("pyarrow")
ENV = "--env", "toy_envs:ToyPoint-v0"
ONE = ActionSpec(1, low=(-1.0,), high=(1.0,))
LENGTHS = 4, 6, 3


def data_set(folder: Path, version: str = "v3.0", **more: Any) -> Path:
    return write_lerobot(folder, [frames(n, i) for i, n in enumerate(LENGTHS)], version, **more)


@pytest.mark.parametrize("version", list(FILES))
def test_both_versions_are_read_and_no_transition_leads_over_an_end(
    version: str, tmp_path: Path
) -> None:
    read = read_lerobot(data_set(tmp_path / "set", version), ONE)
    assert [len(e.observation) for e in read] == list(LENGTHS)
    for i, e in enumerate(read):
        place = 100 * i + np.arange(LENGTHS[i])
        np.testing.assert_array_equal(e.observation, np.repeat(place[:, None], 2, 1))
        np.testing.assert_allclose(e.action[:, 0], 0.01 * (place % 100)[:-1], rtol=1e-6)
        np.testing.assert_array_equal(e.reward, place[:-1])
        assert (e.terminated, e.truncated) == (False, True)
        assert {e.observation.dtype, e.action.dtype, e.reward.dtype} == {np.dtype(np.float32)}


def test_rows_in_any_order_with_ends_and_holes_within_an_episode(tmp_path: Path) -> None:
    episode = frames(10, 0)
    episode["next.done"] = np.isin(np.arange(10), (2, 9))
    kept = np.array([7, 0, 1, 9, 2, 3, 4, 6, 8])  # frame 5 is missing
    mixed = {name: values[kept] for name, values in episode.items()}
    read = read_lerobot(write_lerobot(tmp_path / "set", [mixed]), ONE)
    assert [e.observation[:, 0].tolist() for e in read] == [[0, 1, 2], [3, 4], [6, 7, 8, 9]]
    assert [e.reward.tolist() for e in read] == [[0, 1], [3], [6, 7, 8]]


def test_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    bare = frames(4, 0)
    del bare["next.reward"], bare["next.done"]
    bare["observation.environment_state"] = np.arange(12.0).reshape(4, 3)
    (read,) = read_lerobot(write_lerobot(tmp_path / "set", [bare]), ONE)
    assert read.reward.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(read.observation[1], [1, 1, 3, 4, 5])


@pytest.mark.parametrize(
    ("space", "native", "inside"),
    [
        (spaces.Box(np.array([0.0, -2]), np.array([512.0, 2])), [[256, 1], [0, -2]],
         [[0, 0.5], [-1, -1]]),
        (spaces.Discrete(3, start=1), [[3], [1]], [[0, 0, 1], [1, 0, 0]]),
        (spaces.MultiDiscrete([2, 3]), [[1, 0], [0, 2]], [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]),
    ],
)  # fmt: skip
def test_actions_are_mapped_as_the_task_has_them(
    space: spaces.Space[Any], native: list[list[float]], inside: list[list[float]], tmp_path: Path
) -> None:
    episode = frames(3, 0)
    episode["action"] = np.array([*native, native[0]], np.float32)
    folder = write_lerobot(tmp_path / "set", [episode])
    (read,) = read_lerobot(folder, ActionSpec.of(space))
    np.testing.assert_allclose(read.action, inside)
    with pytest.raises(ValueError, match="the task's actions are 4 numbers"):
        read_lerobot(folder, ActionSpec.of(spaces.Box(-1, 1, (4,))))


def test_actions_out_of_bounds_are_refused_with_their_row(tmp_path: Path) -> None:
    episode = frames(3, 0)
    episode["action"][1] = 1.5
    with pytest.raises(ValueError, match=r"row 1: expected actions within .* got \[1.5\]"):
        read_lerobot(write_lerobot(tmp_path / "set", [episode]), ONE)


def test_pictures_are_left_out_in_one_line(tmp_path: Path) -> None:
    camera = {"observation.images.top": {"dtype": "video", "shape": [3, 96, 96]}}
    with pytest.warns(UserWarning, match=r"observation\.images\.top not read") as said:
        read_lerobot(data_set(tmp_path / "set", features=camera), ONE)
    assert len(said) == 1


def _damaged(folder: Path) -> None:
    next(folder.glob("data/*/*")).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def _info(folder: Path, **changed: Any) -> None:
    file = folder / "meta" / "info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def _rewritten(folder: Path, without: str = "", **changed: Any) -> None:
    whole: Frames = {**frames(3, 2), **changed}
    whole.pop(without, None)
    write_frames(folder / FILES["v3.0"].format(chunk=0, file=1), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "meta" / "info.json").unlink(), "is no LeRobot data set: there is no meta"),
        (lambda f: (f / "meta" / "info.json").write_text("{"), "info.json is damaged"),
        (lambda f: (f / "meta" / "info.json").write_text("[]"), "of version 2 or 3, got None"),
        (lambda f: _info(f, codebase_version="v1.6"), "of version 2 or 3, got v1.6"),
        (lambda f: _info(f, codebase_version="v30.0"), "of version 2 or 3, got v30.0"),
        (lambda f: _info(f, features=None), "expected features"),
        (lambda f: _info(f, total_frames=99), "13 of 99 frames are here; expected all of them"),
        (lambda f: [file.unlink() for file in f.glob("data/*/*")], "expected frames in data/"),
        (_damaged, "cannot be read"),
        (lambda f: _rewritten(f, "action"), "has no action; expected the columns"),
        (lambda f: _rewritten(f, "observation.state"), "has no observation.state; expected"),
        (lambda f: _rewritten(f, episode_index=np.zeros(3, int)), "frame 0 of episode 0 is there"),
        (lambda f: _rewritten(f, action=np.array(["a", "b", "c"])), "expected numbers, got"),
        (lambda f: _rewritten(f, action=np.zeros((3, 2))), "expected action of one length"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(change: Any, message: str, tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set")
    change(folder)
    with pytest.raises(ValueError, match=message) as error:
        read_lerobot(folder, ONE)
    assert "\n" not in str(error.value)


def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = data_set(tmp_path / "set")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"needs: pip install 'worldplan\[lerobot\]'"):
        read_lerobot(folder, ONE)


def test_fit_and_train_take_a_folder(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "set", [frames(30, 0), frames(30, 1)])
    data, words = f"lerobot:{folder}", (*ENV, *SMALL)
    said = run("fit", data, *words, "--rewards", "--updates", 2, f"run_dir={tmp_path / 'fit'}")
    assert data in said
    run("train", *words, "steps=45", f"data={data}", f"run_dir={tmp_path / 'run'}")
    said = run("fit", "lerobot:a/b/c", *words, code=1)
    assert said.count("\n") == 1
    assert "expected lerobot:USER/NAME" in said
    assert "there is no folder 'a/b/c' either" in said


FROM_THE_HUB = """
from worldplan.agent.training.offline.recorded import read_data
from worldplan.envs import ActionSpec
episodes, _ = read_data("lerobot:me/arm", ActionSpec(1, low=(-1.0,), high=(1.0,)))
print([len(e.action) for e in episodes])
try:
    read_data("lerobot:me/absent", ActionSpec(1, low=(-1.0,), high=(1.0,)))
except ValueError as error:
    assert "lerobot:me/absent" in str(error) and len(str(error).splitlines()) == 1, error
else:
    raise AssertionError
"""


def test_a_data_set_comes_from_the_hub_without_its_films(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    folder = data_set(tmp_path / "set")
    files = [file for file in folder.rglob("*") if file.is_file()]
    with hub_server() as server:
        server.repos["me/arm"] = {
            "videos/chunk-000/film.mp4": b"film",
            **{file.relative_to(folder).as_posix(): file.read_bytes() for file in files},
        }
        here = {
            **os.environ, "HF_ENDPOINT": server.address, "PYTHONPATH": HELPERS,
            "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        made = subprocess.run(
            [sys.executable, "-c", FROM_THE_HUB],
            env=here, cwd=tmp_path, capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr + "\n".join(server.strange)
    assert made.stdout.strip() == str([n - 1 for n in LENGTHS])
    assert set(server.fetched) == {name for name in server.repos["me/arm"] if "film" not in name}
