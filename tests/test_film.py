"""Films in TensorBoard."""

import io
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from worldplan.agent.film import animation
from worldplan.agent.record import Record


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Half a second that goes from black to white."""
    path = tmp_path / "film.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (320, 160), fps=20, quality=7)
    writer.send(None)
    for grey in np.linspace(0, 255, 10):
        writer.send(np.full((160, 320, 3), grey, np.uint8))
    writer.close()
    return path


def test_an_animation_is_the_video_made_small(video: Path) -> None:
    gif, height, width = animation(video, width=80, most=5)
    image = Image.open(io.BytesIO(gif))
    assert (height, width) == (40, 80) == image.size[::-1]
    assert getattr(image, "n_frames") == 5  # noqa: B009 (not in its types)
    assert image.info["duration"] == 100  # every second of 50 ms
    greys = []
    for k in range(5):
        image.seek(k)
        greys.append(np.asarray(image.convert("L")).mean())
    assert greys == sorted(greys)
    assert greys[-1] - greys[0] > 150


def test_tensorboard_shows_it(video: Path, tmp_path: Path) -> None:
    with Record(tmp_path, 10, Console(quiet=True)) as record:
        record.film(video, 7)
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    (image,) = events.Images("evaluation/episode")
    assert image.step == 7
    film = Image.open(io.BytesIO(image.encoded_image_string))
    assert getattr(film, "n_frames") == 10  # noqa: B009 (not in its types)
