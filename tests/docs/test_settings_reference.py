"""The reference of settings has all of them, with what is said of each."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel, Field

pytest.importorskip("sphinx", reason="needs the extra docs")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        return importlib.import_module("settings_reference")


@pytest.fixture(scope="module")
def rows(reference: ModuleType) -> dict[str, list[str]]:
    """Cells of the last row of each setting."""
    lines = reference.markdown().splitlines()
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {row[0].strip("`"): row for row in cells if row and row[0].startswith("`")}


def test_each_setting_has_a_row(reference: ModuleType, rows: dict[str, list[str]]) -> None:
    kinds = {name for name in reference.names() if name.endswith(".kind")}
    assert set(reference.names()) - kinds == set(rows)
    assert all(len(row) == 4 for row in rows.values())


def test_rows_say_what_the_classes_say(rows: dict[str, list[str]]) -> None:
    assert rows["seed"][1:3] == ["`0`", "whole number, ≥ 0, ≤ 4,294,967,295"]
    assert rows["eval_interval"][1] == ""  # it follows from steps
    assert rows["learner.tau"][1:] == ["`0.05`", "number, > 0, ≤ 1", "EMA rate of the value target"]
    assert rows["env.observe"][2] == "`observation`, `state`, `pixels`"
    assert rows["planner.horizon"][3] == "Steps planned ahead"
    assert rows["planner.risk"][1] == "`mean`"


def test_a_description_stands_where_the_class_has_it(reference: ModuleType) -> None:
    class Base(BaseModel):
        """Settings.

        Attributes:
            first: In the docstring,
                on two lines.
            second: Another.
        """

        first: int = 1
        second: int = 2
        third: int = Field(default=3, description="by its field")

    class Derived(Base):
        first: int = 4

    said = [reference.describe(Derived, name) for name in ("first", "second", "third")]
    assert said == ["In the docstring, on two lines.", "Another.", "by its field"]


def test_every_setting_has_a_description(rows: dict[str, list[str]]) -> None:
    assert not [name for name, row in rows.items() if not row[3]]
