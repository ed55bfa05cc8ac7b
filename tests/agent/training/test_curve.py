"""Learning curves: exact numbers, and a resumed run writes the same file."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldplan.agent.training.curve import Curve, cut_back, mark, read_curve


def row(step: int) -> dict[str, float]:
    return {"step": step, "return": math.sin(step), "length": float(np.float32(step) / 3)}


def test_numbers_are_read_exactly(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, "a": 0.1 + 0.2, "b, c": 1e-300},
        {"step": 2, "a": float("inf"), "b, c": -0.0},
        {"step": np.int64(3), "a": np.float64(1 / 3), "b, c": np.float32(0.1)},
    ]
    curve = Curve(tmp_path / "new" / "curve.csv")
    for one in rows:
        curve.append(one)
    assert read_curve(curve.path) == rows
    assert curve.path.read_text().splitlines()[:2] == [
        'step,a,"b, c"',
        "1,0.30000000000000004,1e-300",
    ]
    assert curve.path.read_text().splitlines()[3].startswith("3,0.3333333333333333,")
    curve.append({"a": math.nan, "b, c": 1, "step": 4})
    assert math.isnan(read_curve(curve.path)[3]["a"])


def test_each_row_is_written_at_once(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.csv")
    assert read_curve(curve.path) == []
    for step in range(3):
        curve.append(row(step))
        assert len(read_curve(curve.path)) == step + 1


@pytest.mark.parametrize("saved", [0, 10, 25, 30, 50])
@pytest.mark.parametrize("torn", ["", "3", "40,0.5"])
def test_a_resumed_curve_equals_an_uninterrupted_one(tmp_path: Path, saved: int, torn: str) -> None:
    whole, cut = Curve(tmp_path / "whole.csv"), Curve(tmp_path / "cut.csv")
    for step in range(10, 60, 10):
        whole.append(row(step))
    for step in range(10, 40, 10):
        cut.append(row(step))
    with cut.path.open("a") as file:
        file.write(torn)  # a kill in the middle of a line
    assert len(read_curve(cut.path)) == 3

    resumed = Curve(cut.path, resume_step=saved)
    assert [r["step"] for r in read_curve(cut.path)] == [s for s in (10, 20, 30) if s <= saved]
    for step in range(10, 60, 10):
        if step > min(saved, 30):
            resumed.append(row(step))
    assert cut.path.read_bytes() == whole.path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.csv", "whole.csv"]


def test_without_resume_an_old_file_is_replaced(tmp_path: Path) -> None:
    Curve(tmp_path / "curve.csv").append(row(1))
    Curve(tmp_path / "curve.csv").append({"step": 5, "other": 1})
    assert read_curve(tmp_path / "curve.csv") == [{"step": 5, "other": 1}]


def test_resume_without_a_file_starts_one(tmp_path: Path) -> None:
    Curve(tmp_path / "curve.csv", resume_step=100).append(row(110))
    assert read_curve(tmp_path / "curve.csv") == [row(110)]


def test_columns_are_those_of_the_first_row(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "curve.csv")
    with pytest.raises(ValueError, match="needs a step, got return"):
        curve.append({"return": 1})
    curve.append({"step": 1, "return": 2})
    curve = Curve(tmp_path / "curve.csv", resume_step=1)
    for wrong in ({"step": 2}, {"step": 2, "return": 1, "more": 1}, {"step": 2, "length": 1}):
        with pytest.raises(ValueError, match="has the columns step, return; a row came with step"):
            curve.append(wrong)
    assert len(read_curve(curve.path)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column step"),
        ("step,a\n1,2\n2,x\n", r"curve\.csv, line 3: .*'x'"),
        ("step,a\n1\n", r"curve\.csv, line 2"),
        ("step,a\n1,2,3\n", r"curve\.csv, line 2"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_curve(path)
    with pytest.raises(ValueError, match=message):
        Curve(path, resume_step=10)
    assert path.read_text() == text


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_curve(tmp_path / "curve.csv")


def test_a_curve_is_cut_back_to_its_mark_or_known_to_be_another(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    assert cut_back(path, mark(path))
    curve = Curve(path)
    curve.append(row(10))
    there = mark(path)
    text = path.read_text()
    curve.append(row(10))  # an evaluation that was made up for, before a kill
    assert cut_back(path, there)
    assert path.read_text() == text
    for changed in ("", text[:-1], text.replace("10", "11"), "x" + text):
        path.write_text(changed)
        assert not cut_back(path, there)
    others: list[Any] = [None, [], ["x"], [-1, "x"], {}]
    for wrong in others:
        assert not cut_back(path, wrong)


def test_what_is_no_text_is_no_curve(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_bytes(b"step\n\xff\n")
    with pytest.raises(ValueError, match="is no curve"):
        read_curve(tmp_path / "curve.csv")
