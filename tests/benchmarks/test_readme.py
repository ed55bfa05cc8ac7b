"""README.md and the pages with tables say what the committed results say."""

from types import ModuleType

import pytest

from tests.benchmarks.scripts import script


@pytest.fixture(scope="module")
def readme() -> ModuleType:
    return script("readme")


def test_the_pages_are_up_to_date(readme: ModuleType) -> None:
    pages = readme.pages()
    assert {path.name for path in pages} == {
        *("README.md", "learning.md", "robot.md", "cluster.md"),
    }
    for path, text in pages.items():
        assert path.read_text() == text, "run: python benchmarks/readme.py"


def test_a_table_goes_between_its_marks(readme: ModuleType) -> None:
    page = "before\n<!-- t -->\nold\n<!-- /t -->\nafter\n"
    once = readme.filled(page, "t", ["| a |", "| b |"])
    assert once == "before\n<!-- t -->\n\n| a |\n| b |\n\n<!-- /t -->\nafter\n"
    assert readme.filled(once, "t", ["| a |", "| b |"]) == once
    with pytest.raises(ValueError, match=r"expected the marks <!-- u --> and <!-- /u -->"):
        readme.filled(page, "u", [])
