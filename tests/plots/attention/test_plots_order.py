"""Rows of halfway steps: where the marks and the medians stand, and text that fits."""

import numpy as np
import pytest
from printed import assert_printable

from toylab.plots.attention import order

STEPS = {
    "OV copying": {"abs": np.array([40.0, 60, 50]), "shortformer": np.array([50.0, 55, 45])},
    "previous-token score": {"abs": np.array([900.0, np.nan, 800]), "shortformer": np.array([750.0, 760, 740])},
    "never": {"abs": np.full(3, np.nan), "shortformer": np.full(3, np.nan)},
}


def test_marks_and_medians_stand_where_the_numbers_are():
    (ax,) = order.halfway(STEPS).axes
    lines = {(round(float(line.get_ydata().mean()), 1), line.get_marker()): line.get_xdata() for line in ax.lines}
    np.testing.assert_array_equal(lines[-0.1, "o"], [40, 60, 50])
    np.testing.assert_array_equal(lines[1.1, "s"], [750, 760, 740])
    bars = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "None"]
    assert bars == [50, 760]  # none where nothing is known


def test_it_can_be_printed():
    assert_printable(order.halfway(STEPS))


def test_bad_input():
    with pytest.raises(ValueError, match="at least one quantity"):
        order.halfway({})
    with pytest.raises(ValueError, match="the same kinds"):
        order.halfway({"a": {"abs": np.ones(1)}, "b": {"rotary": np.ones(1)}})
