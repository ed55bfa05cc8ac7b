"""Links between pages and to files of the project lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_linked_exist(page: Path) -> None:
    named = LINK.findall(page.read_text(encoding="utf-8"))
    missing = [name for name in named if not (page.parent / name).exists()]
    assert not missing, f"{page.name} links to what is not there: {missing}"
