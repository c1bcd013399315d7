"""Figures of numbers that come to lie on a line."""

import numpy as np
import pytest
from printed import assert_printable, written

from toylab.plots import representations

STEPS = np.arange(0, 500, 20)
LINES = np.linspace(-1.5, 1.5, 10) * (1 - np.exp(-STEPS / 100))[:, None] + 0.01


def test_each_number_is_a_line_with_its_name():
    panels = {"network": (STEPS, LINES), "effective theory": (STEPS / 100, LINES)}
    figure = representations.through_training(panels, ["optimiser step", "time"])
    assert_printable(figure)
    assert [len(ax.lines) >= 10 for ax in figure.axes[:2]] == [True, True]
    told = [text.get_text() for text in written(figure)]
    assert {"network", "effective theory", *map(str, range(10))} <= set(told)
    with pytest.raises(ValueError, match=r"network has positions \(25, 10\); with 24 steps"):
        representations.through_training({"network": (STEPS[1:], LINES)}, ["optimiser step"])


def test_accuracies_are_drawn_over_shares_and_against_each_other():
    share = np.repeat(np.array([0.1, 0.5, 0.9]), 4)
    figure = representations.predicted(share, np.minimum(share + 0.05, 1), share)
    assert_printable(figure)
    assert [ax.get_ylabel() for ax in figure.axes] == ["accuracy", "predicted accuracy", "accuracy"]
    with pytest.raises(ValueError, match=r"share, accuracy and foreseen have the shapes"):
        representations.predicted(share, share[:3], share)


def test_shares_of_runs_stand_over_a_quantity_and_are_named():
    n = np.array([5, 20, 40, 54])
    figure = representations.shares(n, {"determined": n / 54, "found": n / 60}, "training pairs")
    assert_printable(figure)
    assert {"determined", "found"} <= {text.get_text() for text in written(figure)}
    with pytest.raises(ValueError, match=r"found has shape \(3,\); with 4 values of x it is \[4\]"):
        representations.shares(n, {"found": n[:3] / 54}, "training pairs")


def test_times_are_drawn_over_rates_with_their_law():
    slowest = np.array([0.5, 1, 2, 4, 8, 0])
    figure = representations.rates(slowest, np.array([4, 2, 1, 0.5, np.nan, 3]), (1.0, 2.0))
    assert_printable(figure)
    points, law = figure.axes[0].lines
    assert points.get_xdata().tolist() == [0.5, 1, 2, 4]
    assert law.get_ydata().tolist() == [4, 0.5]
    with pytest.raises(ValueError, match=r"slowest and time have the shapes \(6,\) and \(2,\)"):
        representations.rates(slowest, slowest[:2], (1.0, 2.0))
