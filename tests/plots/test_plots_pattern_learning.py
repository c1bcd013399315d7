"""Accuracies beside a formula of patterns: medians, seeds and curves where they belong, one ink for a name, refusals."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from printed import assert_printable, written

from toylab.plots import style
from toylab.plots.pattern_learning import PATTERNS, Panel, beside_formula

STEPS, WIDTHS = np.array([0, 10, 30, 100, 300, 1000]), np.array([2, 4, 6, 8, 12, 16, 64])
SPREAD = np.array([0.9, 1.0, 0.95])


def rising(x, place):
    return x / (x + place)


def over_steps(**more):
    measured = {"train": rising(STEPS, 20)[:, None] * SPREAD, "test": rising(STEPS, 200)[:, None] * SPREAD}
    curves = {"train": 20, "test": 200, "overfitting": 20, "generalising": 200}
    formula = lambda x: {name: rising(x, place) for name, place in curves.items()}  # noqa: E731
    return Panel("optimiser step", STEPS, measured, formula, True, "a title")._replace(**more)


def over_widths(**more):
    measured = {"train": rising(WIDTHS, 3)[:, None] * SPREAD, "test": rising(WIDTHS, 6)[:, None] * SPREAD}
    curves = {"train": 3, "test": 6, "heuristics": 0.1, "overfitting": 3, "generalising": 6}
    formula = lambda x: {name: rising(x, place) for name, place in curves.items()}  # noqa: E731
    return Panel("width of the hidden layer", WIDTHS, measured, formula)._replace(**more)


LOST = {"train": np.full((7, 1), np.nan), "test": np.full((7, 1), np.nan)}


def nothing(x):
    return dict.fromkeys(("train", "test", "overfitting"), np.full(len(x), np.nan))


DRAWINGS = {
    "one panel": lambda: beside_formula([over_steps()]),
    "two": lambda: beside_formula([over_steps(), over_widths(title="another")]),
    "three": lambda: beside_formula([over_steps(), over_widths(), over_widths()]),
    "without values": lambda: beside_formula([over_widths(accuracies=LOST)]),
    "without a fit": lambda: beside_formula([over_widths(accuracies=LOST, formula=nothing), over_steps()]),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_are_printable(name):
    assert_printable(DRAWINGS[name]())


def test_medians_seeds_and_curves_are_where_they_belong():
    panel = over_widths()
    top, low = beside_formula([panel]).axes
    drawn = [(*line.get_data(), to_hex(line.get_color())) for line in top.lines]
    for name, ink in (("train", style.TRAIN), ("test", style.TEST)):
        values = panel.accuracies[name]
        for wanted in (np.median(values, axis=1), *values.T):
            assert any(
                np.array_equal(WIDTHS, x) and np.array_equal(wanted, y) and ink.lower() == c for x, y, c in drawn
            )
        assert any(len(x) > 100 and np.array_equal(panel.formula(x)[name], y) and ink.lower() == c for x, y, c in drawn)
    assert len(low.lines) == 3


def test_a_pattern_has_one_ink_in_all_panels():
    figure = beside_formula([over_steps(), over_widths()])
    inks = [[to_hex(line.get_color()) for line in ax.lines] for ax in figure.axes[2:]]
    assert inks[1][:2] == inks[0] and len(set(inks[1])) == 3
    assert {"heuristics", "overfitting", "generalising", "a title", "a", "b"} <= {
        text.get_text() for text in written(figure)
    }


def many(x):
    return {"train": x, "test": x, **{f"pattern {i}": x for i in range(len(PATTERNS) + 1)}}


@pytest.mark.parametrize(
    ("panels", "sentence"),
    [
        ([], "panels has 0 entries; it has 1 to 3"),
        ([over_widths(x=WIDTHS[::-1])], "x must be increasing places"),
        ([over_widths(x=WIDTHS - 2)], "above 0 where they are no steps"),
        ([over_widths(accuracies={"loss": LOST["test"]})], "accuracies has 'loss'; their names are train and test"),
        ([over_widths(accuracies={"test": LOST["test"][1:]})], r"test has shape \(6, 1\); with 7 places"),
        ([over_widths(formula=many)], "formula has 6 patterns; at most 5"),
    ],
)
def test_what_is_refused(panels, sentence):
    with pytest.raises(ValueError, match=sentence):
        beside_formula(panels)
