"""`worldplan imagine`, as a user types it."""

import os
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest

from tests.helpers import commands
from worldplan.agent.evaluation import probe
from worldplan.agent.experiments.imagine import imagined

drawn = pytest.mark.skipif("MUJOCO_GL" not in os.environ, reason="nothing renders here")


def run(*words: object, code: int = 0) -> str:
    """What is said, without line breaks."""
    return " ".join(commands.run(*words, code=code).split())


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Fewer rows, and a worse probe, than a user would want."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imagined, "_ROWS", 300)
        patch.setattr(imagined, "_LONGEST", 25)
        patch.setattr(probe, "_UPDATES", 200)
        yield


def trained(folder: Path, env: str, *settings: str) -> Path:
    from tests.helpers.settings import SMALL

    run("train", "--env", env, *SMALL, "steps=45", f"run_dir={folder}", *settings)
    return folder


@pytest.fixture(scope="module")
def point(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in a world without MuJoCo, of a model without z."""
    return trained(tmp_path_factory.mktemp("runs") / "point", "toy_envs:ToyPoint-v0")


@pytest.fixture(scope="module")
def slider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in MuJoCo, of a model with z."""
    folder = tmp_path_factory.mktemp("runs") / "slider"
    return trained(folder, "toy_envs:ToySlider-v0", "model.latent={kind: gaussian, dim: 2}")


def test_without_mujoco_there_is_a_plot_and_no_film(point: Path, tmp_path: Path) -> None:
    said = run("imagine", point, "--horizon", 4, "--actor", "random", "--seed", 1)
    assert "no film: toy_envs:ToyPoint-v0 shows no MuJoCo" in said
    assert "4 decisions ahead" in said
    assert (point / "imagine.png").stat().st_size > 10_000
    assert not (point / "imagine.mp4").exists()
    plot = tmp_path / "other.png"
    again = run("imagine", point, "--horizon", 4, "--actor", "random", "--seed", 1, "--plot", plot)
    assert plot.read_bytes() == (point / "imagine.png").read_bytes()
    assert again.split("plot")[0] == said.split("plot")[0]


@drawn
def test_the_film_has_a_frame_a_step(slider: Path, tmp_path: Path) -> None:
    video = tmp_path / "out.mp4"
    words = ["--horizon", 9, "--start", 4, "--video", video, "--plot", tmp_path / "p.png"]
    said = run("imagine", slider, "--passive", *words, "--samples", 3)
    assert "9 decisions ahead" in said
    assert "of what came" in said
    frames = imageio_ffmpeg.read_frames(str(video))
    assert next(frames)["size"] == (480, 544)
    assert len(list(frames)) == 10


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--samples", "2"], "this model has no z"),
        (["--start", "500"], "expected --start below that, got 500"),
        (["--actor", "polici"], "Did you mean 'policy'"),
        (["--video", "x.mp4"], "shows no MuJoCo model and data"),
    ],
)
def test_mistakes_end_in_one_line(point: Path, words: list[str], answer: str) -> None:
    if "--video" in words and "MUJOCO_GL" not in os.environ:
        pytest.skip("nothing renders here")
    assert answer in run("imagine", point, *words, code=1)
