"""The notebooks in `examples/notebooks/` run, small, and are kept without outputs."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
FOLDER = ROOT / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def outputs(book: Any) -> list[Any]:
    return [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first_run", "planning"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    assert path.stat().st_size < 20_000
    assert not outputs(book)
    monkeypatch.setenv("WORLDPLAN_QUICK", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    nbclient.NotebookClient(
        book, timeout=600, startup_timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [out.data for out in outputs(book) if "data" in out]
    assert sum("image/png" in data for data in shown) >= 2
    said = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(data["text/plain"] for data in shown))
    warned = [out.text for out in outputs(book) if out.get("name") == "stderr"]
    assert not warned
    if path.stem == "first_run":  # progress is shown while it learns
        assert "step      60: return" in said
        assert "planner: mean return" in said
