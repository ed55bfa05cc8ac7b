"""Fills README.md and docs/ with the committed results: one command, nothing typed by hand.

    python benchmarks/readme.py

Tables go between their marks, `<!-- results -->` in README.md and `<!-- settings -->` in
docs/learning.md; the figure is docs/curves.png.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from worldplan.agent.experiments.report.curves import find_runs, group
from worldplan.agent.experiments.report.markdown import results, settings
from worldplan.agent.experiments.report.plot import plot_report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "presets"
SETTINGS = ROOT / "benchmarks" / "results" / "settings"
SCREENED_AT = 25_000  # frames


def filled(text: str, mark: str, lines: Iterable[str]) -> str:
    """The text with the lines between its two marks.

    Raises:
        ValueError: the marks are not there.
    """
    start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"expected the marks {start.strip()} and {end}")
    table = "\n".join(lines)
    return f"{before}{start}\n{table}\n\n{end}{after}"


def pages() -> dict[Path, str]:
    """Each page that holds a table, as it is to be."""
    readme, learning = ROOT / "README.md", ROOT / "docs" / "learning.md"
    runs = find_runs([RESULTS])
    return {
        readme: filled(readme.read_text(), "results", results(group(runs))),
        learning: filled(
            learning.read_text(), "settings", settings([*runs, *find_runs([SETTINGS])], SCREENED_AT)
        ),
    }


def main() -> None:
    for path, text in pages().items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    plot_report(group(find_runs([RESULTS])), ROOT / "docs" / "curves.png")
    print("drew docs/curves.png")


if __name__ == "__main__":
    main()
