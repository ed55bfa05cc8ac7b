"""What all figures share."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's colours, told apart by colour-blind eyes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def pyplot() -> Any:
    """Matplotlib's pyplot, drawing to files: no display is needed. Slow to import, so not above."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
