"""Writing films."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray


class Video:
    """An MP4 that grows by a frame at a time. Close it: only then is it whole.

    Args:
        fps: frames a second.
        quality: 0 to 10, best.
    """

    def __init__(self, path: Path, fps: float, quality: float) -> None:
        self._path, self._fps, self._quality = path, fps, quality
        self._writer: Generator[None, NDArray[np.uint8] | None] | None = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Frame (height, width, 3); all are as large as the first."""
        if self._writer is None:
            size = frame.shape[1::-1]
            self._writer = imageio_ffmpeg.write_frames(
                str(self._path), size, fps=self._fps, quality=self._quality
            )
            self._writer.send(None)
        self._writer.send(np.ascontiguousarray(frame))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
