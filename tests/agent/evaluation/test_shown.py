import numpy as np
import pytest

from worldplan.agent.evaluation.shown import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (-0.04, "-0.0400"),
        (1.23456e-6, "1.23e-06"),
        (-1e-12, "-1e-12"),
        (5.0, "5.00"),
        (9.999, "10.0"),
        (-17.13, "-17.1"),
        (1000.0, "1000.0"),
        (2.5e9, "2.5e+09"),
        (np.float32(0.25), "0.250"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_are_shown_with_significant_digits(value: float, text: str) -> None:
    assert shown(value) == text
