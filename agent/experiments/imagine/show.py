"""An imagined future beside the real one, as a film and as a picture.

Shapes: T imagined steps, M futures, V numbers that are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from worldplan.agent.data.atomic import written_whole
from worldplan.agent.evaluation.film import Video
from worldplan.agent.experiments.figure import plain, pyplot
from worldplan.agent.experiments.imagine.imagined import Comparison
from worldplan.envs.rendering.frames import enlarged
from worldplan.envs.rendering.ghosts import GhostRenderer

_STRIP, _CAPTION = 64, 420  # pixels of caption: its height, and the width that it needs
_PICTURE = 240  # pixels of a small picture once it is enlarged
_SHORTEST = 6.0  # seconds that a film lasts at least; what is shorter is slowed down


@dataclass(frozen=True)
class Drawing:
    """How a comparison is drawn, and where in a picture to look."""

    draw: Callable[[Comparison, int, int], NDArray[np.uint8]]
    """Of a comparison, futures of it, and steps ahead: a picture (height, width, 3)."""
    real: str
    imagined: str


def ghosts(renderer: GhostRenderer) -> Drawing:
    """The real pose with the imagined ones over it."""

    def draw(c: Comparison, samples: int, t: int) -> NDArray[np.uint8]:
        alpha = max(0.12, 0.35 / samples**0.5)
        return renderer.draw(c.position[t], c.ghosts[t, :samples], alpha)

    return Drawing(draw, "solid", "blue")


def side_by_side() -> Drawing:
    """The real picture, and beside it those that a decoder reads off what was imagined."""

    def draw(c: Comparison, samples: int, t: int) -> NDArray[np.uint8]:
        both = torch.cat([c.real[t, None], c.imagined[t, :samples]])
        return enlarged(np.concatenate(list(c.sight.drawn(both)), 1), _PICTURE)

    return Drawing(draw, "left", "right")


def film(
    c: Comparison, drawing: Drawing, video: Path, samples: int, decisions_per_second: float
) -> None:
    """Films what happened and the first `samples` imagined futures, to an MP4."""
    slower = max(1, round(_SHORTEST * decisions_per_second / len(c.position)))
    with Video(video, decisions_per_second / slower, quality=8) as written:
        for picture in frames(c, drawing, samples, decisions_per_second, slower):
            written.add(picture)


def frames(
    c: Comparison, drawing: Drawing, samples: int, decisions_per_second: float, slower: int
) -> Iterator[NDArray[np.uint8]]:
    """T+1 pictures with their captions."""
    errors = c.observation_error(c.imagined[:, :samples]).mean(1)
    steps = len(c.position) - 1
    what = "imagined" if samples == 1 else f"{samples} imagined futures"
    actions = "no actions" if c.passive else "the same actions"
    speed = f", {slower} times slower" if slower > 1 else ""
    for t in range(steps + 1):
        lines = (
            f"{t / decisions_per_second:.2f} s ahead (step {t} of {steps}{speed})",
            f"{drawing.real}: what happened   {drawing.imagined}: {what}, {actions}",
            f"error {float(errors[t]):.2f}   (1: as wrong as guessing the mean)",
        )
        yield _captioned(drawing.draw(c, samples, t), lines)


def _captioned(picture: NDArray[np.uint8], lines: tuple[str, ...]) -> NDArray[np.uint8]:
    height, width = picture.shape[0], max(picture.shape[1], _CAPTION)
    page = Image.new("RGB", (width, height + _STRIP))
    page.paste(Image.fromarray(picture), (0, _STRIP))
    draw = ImageDraw.Draw(page)
    for i, line in enumerate(lines):
        draw.text((10, 4 + 19 * i), line, "white", font=ImageFont.load_default(15))
    return np.asarray(page)


def plot(c: Comparison, path: Path, title: str) -> None:
    """Error by how far was imagined, in observations and embeddings, its spread over z, how often
    the spread holds what came, and the observations that moved most."""
    plt = pyplot()
    futures = c.imagined.shape[1]
    figure = plt.figure(figsize=(11, 6.4), layout="constrained")
    figure.suptitle(plain(title))
    halves: Any = figure.subfigures(2, 1)
    above, below = halves
    panels = above.subplots(1, 2 if futures == 1 else 3)
    _errors(
        panels[0], "Observations, read off by a probe",
        c.observation_error(c.imagined), c.observation_error(c.real[:1].expand_as(c.real)),
        c.observation_error(c.read),
    )  # fmt: skip
    _errors(
        panels[1], "The model's own embeddings",
        c.embedding_error(c.h_imagined), c.embedding_error(c.h[:1].expand_as(c.h)), None,
    )  # fmt: skip
    if futures > 1:
        _coverage(panels[2], c.coverage())
    moves = ((c.real - c.real[0]) / c.scale).square().mean(0)
    shown = sorted(moves.argsort(descending=True)[:3].tolist())
    for panel, d in zip(below.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        panel.plot(c.real[:, d], color="black", label="what happened")
        _band(panel, c.imagined[..., d], "imagined")
        panel.set(title=f"{c.sight.name(d)}", xlabel="decisions ahead")
        panel.legend(frameon=False, fontsize=8)
    with written_whole(path) as draft:
        figure.savefig(draft, dpi=120)
    plt.close(figure)


def _errors(panel: Any, title: str, error: Tensor, still: Tensor, floor: Tensor | None) -> None:
    """Errors (T+1, M) of what was imagined, (T+1,) of no change, and of the probe alone."""
    panel.plot(still, "--", color="C1", label="if nothing changed")
    if floor is not None:
        panel.plot(floor, ":", color="0.5", label="the probe's own error")
    _band(panel, error, "imagined")
    panel.axhline(1, color="0.85", linewidth=0.8, zorder=0)
    panel.set(title=title, xlabel="decisions ahead", ylabel="error (1: guessing the mean)")
    panel.set_ylim(bottom=0)
    panel.legend(frameon=False, fontsize=8)


def _band(panel: Any, values: Tensor, label: str) -> None:
    """Of (T+1, M): the median and where nine in ten of the futures lie."""
    low, middle, high = values.quantile(torch.tensor([0.05, 0.5, 0.95]), 1).unbind()
    if values.shape[1] > 1:
        panel.fill_between(
            range(len(low)), low, high, color="C0", alpha=0.2, linewidth=0,
            label=f"nine in ten of {values.shape[1]} futures (z)",
        )  # fmt: skip
        label += ", median"
    panel.plot(middle, color="C0", label=label)


def _coverage(panel: Any, covered: Tensor) -> None:
    """From the first imagined step on: before it, all futures are one."""
    panel.plot(range(1, len(covered)), covered[1:], color="C0", label="this future")
    panel.axhline(0.9, linestyle="--", color="0.5", label="as it should be on average")
    panel.set(
        title="Did z foresee it?", xlabel="decisions ahead",
        ylabel="share of observations in band", ylim=(-0.02, 1.02),
    )  # fmt: skip
    panel.legend(frameon=False, fontsize=8)
