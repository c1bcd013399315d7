"""The control limits themselves, on numbers made by hand."""

import numpy as np
import pytest
from regressions import outside

from toylab.lab import Measures

COMMITTED = Measures({"x": 10 + np.tile([-1.0, 1.0, 2.0, -2.0], 5)})  # 20 runs
SPREAD = np.sqrt(50 / 19)  # Σ (x − 10)² = 50


@pytest.mark.parametrize(
    ("value", "scale", "found"),
    [
        (10 + 2.99 * SPREAD, "linear", False),
        (10 + 3.01 * SPREAD, "linear", True),
        (10 - 3.01 * SPREAD, "linear", True),
        (np.nan, "linear", True),
        (100.0, "log", True),
    ],
)
def test_a_value_is_outside_from_three_standard_deviations_on(value, scale, found):
    fresh = Measures({"x": np.array([value])})
    assert bool(outside({"x": (lambda m: m["x"], scale)}, COMMITTED, fresh)) == found
