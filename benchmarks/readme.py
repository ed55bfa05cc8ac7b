"""Fills README.md and docs/ with the committed results: one command, nothing typed by hand.

    python benchmarks/readme.py

Tables go between their marks, `<!-- results -->` in README.md, `<!-- settings -->` in
docs/learning.md, `<!-- latency -->` in docs/robot.md, `<!-- collectors -->` in docs/cluster.md. The
figure is docs/curves.png.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from worldplan.agent.experiments.report.curves import find_runs, group
from worldplan.agent.experiments.report.markdown import results, settings
from worldplan.agent.experiments.report.plot import plot_report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "presets"
SETTINGS = ROOT / "benchmarks" / "results" / "settings"
SPEED = ROOT / "benchmarks" / "results" / "speed"
SCREENED_AT = 25_000  # frames
_IN_DOCS = ("docs/learning.md", "docs/robot.md", "docs/cluster.md")


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


def latency(found: Mapping[str, Any]) -> Iterator[str]:
    """A row for each way of deciding of benchmarks/robot.py."""
    ways = found["ways"]
    rate = next(iter(ways.values()))["rate"]
    yield (
        f"Milliseconds from the beat of the clock to the action, {found['minutes']:g} minutes of "
        f"each at {rate:g} Hz, `{found['run']}`, one thread of an idle machine:"
    )
    yield ""
    yield "| | p50 | p99 | longest | late |"
    yield "| --- | --- | --- | --- | --- |"
    for way, s in ways.items():
        times = (s["p50_ms"], s["p99_ms"], s["max_ms"])
        yield f"| {way} | {' | '.join(map(str, times))} | {s['late']} of {s['ticks']:,} |"


def collectors(found: Mapping[str, Any]) -> Iterator[str]:
    """A row for each environment of benchmarks/collectors.py."""
    yield (
        f"Steps a second with one update each, on {found['cores']} idle cores (`python "
        "benchmarks/collectors.py --out benchmarks/results/speed/collectors.json`):"
    )
    yield ""
    yield f"| a step waits | one process | {found['collectors']} collectors | updates behind |"
    yield "| --- | --- | --- | --- |"
    for row in found["rows"]:
        speeds = (
            f"{row['here']:.1f} | {row['collectors']:.1f} ({row['collectors'] / row['here']:.1f}x)"
        )
        yield f"| {row['ms']:g} ms | {speeds} | {row['updates_behind']:.0f} |"


def pages() -> dict[Path, str]:
    """Each page that holds a table, as it is to be."""
    readme, learning, robot, cluster = (ROOT / name for name in ("README.md", *_IN_DOCS))
    runs = find_runs([RESULTS])
    return {
        readme: filled(readme.read_text(), "results", results(group(runs))),
        learning: filled(
            learning.read_text(), "settings", settings([*runs, *find_runs([SETTINGS])], SCREENED_AT)
        ),
        robot: filled(robot.read_text(), "latency", latency(_measured("robot"))),
        cluster: filled(cluster.read_text(), "collectors", collectors(_measured("collectors"))),
    }


def _measured(name: str) -> Any:
    return json.loads((SPEED / f"{name}.json").read_text())


def main() -> None:
    for path, text in pages().items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    plot_report(group(find_runs([RESULTS])), ROOT / "docs" / "curves.png")
    print("drew docs/curves.png")


if __name__ == "__main__":
    main()
