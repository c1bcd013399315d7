"""Irreps through training: what is coloured, what is numbered, and text that fits."""

import numpy as np
import pytest
from printed import assert_printable

from toylab.plots.groups import irreps

STEPS = np.array([0, 10, 100, 1000])
NAMES = ("sign", "standard", "standard_sign", "s5_5d_a", "freq_12")
SIMILARITY = np.linspace(0, 1, 4)[:, None] * np.array([0.1, 0.6, 0.001, 0.3, 0.0])
ORDER = np.array([[1, 2, 0, 3, 0], [0, 1, 2, 0, 0]])
FINAL = np.array([[0.1, 0.6, 0.001, 0.3, 0.0], [0.0, 0.5, 0.2, 0.001, -0.01]])
ACCURACY = np.array([[0, 0.5, 1, 1], [0, 0.4, 1, np.nan]]), np.array([[0, 0, 0.1, 1], [0, 0, 0.2, np.nan]])


def drawn(**changes):
    given = {"accuracy": ACCURACY, "similarity": SIMILARITY, "final": FINAL, "order": ORDER, "names": NAMES, "shown": 0}
    return irreps.learned(STEPS, **{**given, **changes})


def test_key_irreps_are_coloured_and_numbered():
    figure = drawn()
    _, lines, table, _ = figure.axes
    grey = [line for line in lines.lines if line.get_color() == "#BBBBBB"]
    assert len(grey) == 2 and len(lines.lines) == 5
    texts = {
        (int(t.get_position()[0]), int(t.get_position()[1])): t.get_text()
        for t in table.texts
        if t.get_text().isdigit()
    }
    assert texts == {(0, 0): "1", (0, 1): "2", (0, 3): "3", (1, 1): "1", (1, 2): "2"}
    assert [label.get_text() for label in table.get_yticklabels()] == [
        "sign",
        "standard",
        "standard·sign",
        "5d a",
        "k = 12",
    ]


def test_it_can_be_printed():
    assert_printable(drawn())


def test_bad_input():
    with pytest.raises(ValueError, match=r"^similarity, final and order have shapes \(3, 5\)"):
        drawn(similarity=SIMILARITY[:3])
