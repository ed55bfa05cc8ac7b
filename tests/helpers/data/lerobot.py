"""LeRobot data sets as that library writes them, without pictures.

Version 2.1 has a file for each episode, version 3.0 files of several episodes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

FILES = {
    "v2.1": "data/chunk-{chunk:03d}/episode_{file:06d}.parquet",
    "v3.0": "data/chunk-{chunk:03d}/file-{file:03d}.parquet",
}
PATHS = {
    "v2.1": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "v3.0": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}

Frames = dict[str, np.ndarray]


def frames(length: int, episode: int, state: int = 2, action: int = 1) -> Frames:
    """An episode, every number of which says where it stands: 100 * episode + frame."""
    place = 100.0 * episode + np.arange(length)
    return {
        "observation.state": np.repeat(place[:, None], state, 1).astype(np.float32),
        "action": np.full((length, action), 0.01) * (place % 100)[:, None],
        "next.reward": place.astype(np.float32),
        "next.done": np.arange(length) == length - 1,
        "timestamp": (np.arange(length) / 10).astype(np.float32),
        "frame_index": np.arange(length),
        "episode_index": np.full(length, episode),
        "task_index": np.zeros(length, np.int64),
    }


def write_lerobot(folder: Path, episodes: list[Frames], version: str = "v3.0", **more: Any) -> Path:
    """Writes episodes; in version 3.0 all but the last into one file. `more` is said in info."""
    first = episodes[0]
    features = {
        name: {"dtype": str(values.dtype), "shape": list(values.shape[1:] or (1,)), "names": None}
        for name, values in first.items()
    }
    total = sum(len(e["action"]) for e in episodes)
    info = {
        "codebase_version": version, "robot_type": None, "fps": 10, "total_frames": total,
        "total_episodes": len(episodes), "total_tasks": 1, "chunks_size": 1000,
        "splits": {"train": f"0:{len(episodes)}"}, "data_path": PATHS[version],
        "features": features,
    }  # fmt: skip
    info["features"] |= more.pop("features", {})
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(info | more, indent=4))
    groups = [[e] for e in episodes]
    if version == "v3.0" and len(episodes) > 2:
        groups = [episodes[:-1], episodes[-1:]]
    for i, group in enumerate(groups):
        whole = {name: np.concatenate([e[name] for e in group]) for name in first}
        write_frames(folder / FILES[version].format(chunk=0, file=i), whole, version)
    return folder


def write_frames(file: Path, whole: Frames, version: str = "v3.0") -> None:
    """Writes one file of frames. A feature of one number is a number, others are lists."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {}
    for name, values in whole.items():
        flat = values.reshape(len(values), -1)
        if flat.shape[1] == 1:
            columns[name] = pa.array(flat[:, 0])
        elif version == "v2.1":  # as Hugging Face's `Sequence(length=...)`
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
        else:
            columns[name] = pa.array(list(flat))
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), file)
