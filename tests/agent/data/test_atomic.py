"""Files are complete or absent."""

import errno
from pathlib import Path

import pytest

from worldplan.agent.data.atomic import write_json, write_text, written_whole


def fill_the_disk(path: Path) -> None:
    with written_whole(path) as draft:
        assert draft.suffix == path.suffix
        draft.write_text("half of")
        raise OSError(errno.ENOSPC, "full")


def test_an_error_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    write_json(path, {"a": 1})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    with pytest.raises(OSError, match="full"):
        fill_the_disk(path)
    assert path.read_text() == '{\n  "a": 1\n}\n'
    write_text(path, "whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]
