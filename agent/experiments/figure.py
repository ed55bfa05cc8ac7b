"""What all figures share."""

from __future__ import annotations

from typing import Any

from worldplan.agent.config.texts import visible

# Okabe and Ito's colours, told apart by colour-blind eyes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def plain(text: str) -> str:
    """The text as it is to be drawn: dollars are no mathematics in it."""
    return visible(text).replace("$", r"\$")


def new_figure(**how: Any) -> Any:
    """A figure to draw to a file. Where pyplot draws, as in a notebook, stays as it is."""
    from matplotlib.figure import Figure  # slow to import, so not above

    return Figure(**how)


def pyplot() -> Any:
    """Matplotlib's pyplot, drawing to files: no display is needed. Slow to import, so not above."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
