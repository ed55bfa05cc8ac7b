"""Numbers as they are shown."""

from __future__ import annotations


def shown(value: float) -> str:
    """One decimal, or three significant digits where that is more; never -0.0.

    Very large and very small numbers have an exponent: 12.3, 0.0123, 1.23e-06.
    """
    size = abs(float(value))
    if size == 0:
        return "0.0"
    if 9.995 <= size < 1e7:
        return f"{value:.1f}"
    return f"{value:#.3g}" if 1e-3 <= size < 10 else f"{value:.3g}"
