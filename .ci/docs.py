"""Checks that links and commands in the Markdown files point to what exists.

Links to files, scripts run by `python`, and the presets that `worldplan` is given.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")
SCRIPT = re.compile(r"\bpython ([\w/.-]+\.py)")
PRESET = re.compile(r"\bworldplan (?:train|collect|fit) ([a-z][\w-]*)(?=[ `\n])")

missing = []
for page in [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]:
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(keepends=True), 1):
        named = {page.parent / name for name in LINK.findall(line)}
        named |= {ROOT / name for name in SCRIPT.findall(line)}
        named |= {ROOT / "configs" / f"{name}.yaml" for name in PRESET.findall(line)}
        for path in sorted(named):
            if not path.exists():
                missing.append(f"{page.relative_to(ROOT)}:{number}: no {path.relative_to(ROOT)}")
print("\n".join(missing) or "links and commands: all found")
sys.exit(bool(missing))
