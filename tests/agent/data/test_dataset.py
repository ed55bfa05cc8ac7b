"""What a data set says is what is learned from, or the row that is wrong is named."""

import contextlib
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.dataset import Episode, read_dataset, read_spec, write_dataset
from worldplan.agent.training.offline.fit import TRIPLES_ALONE, fit
from worldplan.envs import EnvironmentSpec, make_env

LENGTHS = 4, 3, 6


def arrays(tmp_path: Path) -> dict[str, Any]:
    """Columns of three episodes."""
    rng = np.random.default_rng(0)
    episodes = [
        Episode(
            rng.normal(size=(n + 1, 2)).astype(np.float32),
            rng.uniform(-1, 1, (n, 1)).astype(np.float32),
            rng.normal(size=n).astype(np.float32),
            n == 3,
            n != 3,
        )
        for n in LENGTHS
    ]
    write_dataset(tmp_path / "data.npz", episodes)
    return dict(np.load(tmp_path / "data.npz"))


def read(tmp_path: Path, columns: dict[str, Any]) -> list[Episode]:
    np.savez(tmp_path / "changed.npz", **columns)
    return read_dataset(tmp_path / "changed.npz")


def triples(columns: dict[str, Any]) -> set[tuple[float, ...]]:
    """The transitions of a file."""
    names = "observation", "action", "next_observation"
    return set(map(tuple, np.concatenate([columns[name] for name in names], 1).tolist()))


def learned(episodes: list[Episode]) -> set[tuple[float, ...]]:
    """The transitions that are learned from."""
    rows = [np.concatenate([e.observation[:-1], e.action, e.observation[1:]], 1) for e in episodes]
    return set(map(tuple, np.concatenate(rows).tolist()))


def test_mixed_episodes_are_put_in_order(tmp_path: Path) -> None:
    columns = arrays(tmp_path)
    turns = np.argsort(np.concatenate([np.arange(n) for n in LENGTHS]), kind="stable")
    episodes = read(tmp_path, {name: values[turns] for name, values in columns.items()})
    assert [len(e.action) for e in episodes] == list(LENGTHS)
    assert [e.terminated for e in episodes] == [False, True, False]
    assert learned(episodes) == triples(columns)


def test_single_transitions_are_episodes_of_one_decision(tmp_path: Path) -> None:
    columns = arrays(tmp_path)
    shuffled = np.random.default_rng(1).permutation(sum(LENGTHS))
    mixed = {name: values[shuffled] for name, values in columns.items()}
    episodes = read(tmp_path, mixed | {"episode": np.arange(sum(LENGTHS))})
    assert [len(e.action) for e in episodes] == [1] * sum(LENGTHS)
    assert learned(episodes) == triples(columns)


def test_rows_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    columns = arrays(tmp_path)
    order = np.arange(sum(LENGTHS))
    order[[8, 10]] = order[[10, 8]]
    for name, changed in {
        "shuffled rows": {name: values[order] for name, values in columns.items()},
        "one number for all": columns | {"episode": np.zeros(sum(LENGTHS), int)},
        "a number twice": columns | {"episode": np.repeat([0, 1, 0], LENGTHS)},
        "another next": columns | {"next_observation": columns["next_observation"][::-1]},
    }.items():
        with pytest.raises(ValueError, match=r"row \d+ does not begin where row \d+ ended") as e:
            read(tmp_path, changed)
        assert "\n" not in str(e.value), name
    with pytest.raises(ValueError, match=r"row 8 does not begin where row 7 ended.* number 2;"):
        read(tmp_path, {name: values[order] for name, values in columns.items()})
    for flag in ("terminated", "truncated"):
        over = columns[flag].copy()
        over[8] = True
        with pytest.raises(ValueError, match=f"row 8 is {flag}, and row 9 has the same episode"):
            read(tmp_path, columns | {flag: over})


def test_values_that_cannot_be_learned_are_refused_with_their_row(tmp_path: Path) -> None:
    columns = arrays(tmp_path)
    rows = len(columns["episode"])
    for name, value, message in [
        ("action", 1.5, r"row 5: expected numbers in \[-1, 1\] as action, got 1.5"),
        ("action", np.nan, "row 5: expected a finite float32 as action, got nan"),
        ("observation", np.inf, "row 5: expected a finite float32 as observation, got inf"),
        ("next_observation", 1e300, r"row 5: .* as next_observation, got 1e\+300"),
        ("reward", np.nan, "row 5: expected a finite float32 as reward, got nan"),
        ("episode", np.nan, "row 5: expected a whole number as episode, got nan"),
        ("episode", 0.5, r"row 5: expected a whole number as episode, got 0\.5"),
        ("terminated", 2, r"row 5: expected true or false as terminated, got 2"),
    ]:
        values = columns[name].astype(np.float64)
        values[5] = value
        with pytest.raises(ValueError, match=message):
            read(tmp_path, columns | {name: values})
    for name, values, message in [
        ("action", columns["action"] + 0j, "expected real numbers as action, got complex"),
        ("observation", columns["observation"].astype(str), "real numbers as observation, got <U"),
        ("episode", columns["episode"].astype("M8[s]"), "real numbers as episode, got datetime"),
        ("action", columns["action"][:, 0], r"expected action of shape \(rows, A\), got \(13,\)"),
        ("reward", columns["reward"][:, None], r"reward of shape \(rows,\), got \(13, 1\)"),
        ("episode", np.int64(0), "expected one row a transition in each array"),
        ("next_observation", np.zeros((rows, 3)), r"shape \(13, 2\), as observation has, got"),
        ("action", np.zeros((rows, 0)), r"expected action of shape \(rows, A\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            read(tmp_path, columns | {name: values})
    with pytest.raises(ValueError, match="one row a transition"):
        read(tmp_path, {name: values[:0] for name, values in columns.items()})


def test_other_arrays_are_named(tmp_path: Path) -> None:
    columns = arrays(tmp_path)
    with pytest.warns(UserWarning, match="dones, rewards not read; a data set has observation"):
        read(tmp_path, columns | {"rewards": columns["reward"], "dones": columns["terminated"]})


def test_what_float32_cannot_carry_is_named(tmp_path: Path) -> None:
    columns = arrays(tmp_path)
    for name in ("observation", "next_observation"):
        columns[name] = columns[name].astype(np.float64) + np.array([0, 1e9])
    with pytest.warns(UserWarning, match=r"vary too little for their size at index \[1\]: float32"):
        read(tmp_path, columns)


@pytest.mark.filterwarnings("ignore:.*not read")
def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "data.npz", **arrays(tmp_path))
    whole = (tmp_path / "data.npz").read_bytes()
    rng = np.random.default_rng(0)
    damaged = tmp_path / "damaged.npz"
    for _ in range(100):
        content = bytearray(whole)
        for at in rng.integers(len(whole), size=3):
            content[at] ^= 1 << rng.integers(8)
        damaged.write_bytes(content)
        with contextlib.suppress(ValueError):  # anything else fails the test
            read_dataset(damaged)
    damaged.write_bytes(whole[: len(whole) // 2] + bytes(20) + whole[len(whole) // 2 + 20 :])
    with pytest.raises(ValueError, match=re.escape(f"{damaged} is damaged: ") + "[^\n]*$"):
        read_dataset(damaged)
    with zipfile.ZipFile(damaged, "w") as file:
        for name in ("observation", "action", "next_observation", "episode"):
            file.writestr(name, "no array")
    with pytest.raises(ValueError, match=r"is damaged|expected one row"):
        read_dataset(damaged)


def test_a_data_set_tells_of_its_environment(tmp_path: Path) -> None:
    point = {"id": "toy_envs:ToyPoint-v0"}
    config = resolve({"task": "toy", "env": point}, TRIPLES_ALONE)
    world = make_env(config.env)
    spec = EnvironmentSpec.of(world)
    path, episodes = tmp_path / "data.npz", read(tmp_path, arrays(tmp_path))
    write_dataset(path, episodes)
    assert read_spec(path) is None
    write_dataset(path, episodes, spec)
    assert read_spec(path) == spec
    assert [len(e.action) for e in read_dataset(path)] == list(LENGTHS)
    other = replace(spec, action=replace(spec.action, high=(2.0,)))
    with pytest.raises(ValueError, match=r"actions up to 1.0 at index 0, and 2.0 in the data set"):
        fit(config, episodes, tmp_path / "run", 1, Console(quiet=True), other)
    np.savez(path, **arrays(tmp_path), about=np.array('{"spec": {"action": 3}}'))
    with pytest.raises(ValueError, match="its array about is damaged"):
        read_spec(path)


@pytest.mark.parametrize(("name", "value"), [("action", 1.01), ("observation", np.nan)])
def test_fit_refuses_episodes_of_any_source(tmp_path: Path, name: str, value: float) -> None:
    config = resolve({"task": "toy", "env": {"id": "toy_envs:ToyPoint-v0"}}, TRIPLES_ALONE)
    parts: dict[str, Any] = {
        "observation": np.zeros((4, 2), np.float32),
        "action": np.zeros((3, 1), np.float32),
        "reward": np.zeros(3, np.float32),
    }
    good = Episode(**parts, terminated=False, truncated=True)
    parts[name] = parts[name].copy()
    parts[name][2, 0] = value
    bad = Episode(**parts, terminated=False, truncated=True)
    with pytest.raises(ValueError, match=f"episode 1 of the data set, row 2: expected .* {name}"):
        fit(config, [good, bad], tmp_path, 1, Console(quiet=True))
    with pytest.raises(ValueError, match="at least one episode"):
        fit(config, [], tmp_path, 1, Console(quiet=True))
    assert not list(tmp_path.iterdir())
