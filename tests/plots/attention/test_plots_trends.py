"""Trends over settings: what is drawn where, what is refused."""

import numpy as np
import pytest

from toylab.plots.attention.trends import Trend, trends

CURVES = {"new": np.array([[0.1, 0.2], [0.5, 0.3], [0.9, 0.8]]), "old": np.array([[0.9, 0.9], [0.5, 0.5], [0.1, 0.2]])}


def test_each_setting_has_its_panel_with_seeds_medians_and_limits():
    levels = np.array([1, 2, 4])
    figure = trends([Trend("B", levels, CURVES, {"limit": levels / 8}), Trend("K", levels * 100, CURVES)], "accuracy")
    first, second = figure.axes
    assert [first.get_xlabel(), second.get_xlabel(), first.get_ylabel()] == ["B", "K", "accuracy"]
    drawn = [np.asarray(line.get_ydata()) for line in first.lines]
    for values in CURVES.values():
        assert any(np.array_equal(line, np.median(values, axis=1)) for line in drawn)
        assert all(any(np.array_equal(line, seed) for line in drawn) for seed in values.T)
    assert any(np.array_equal(line, levels / 8) for line in drawn)
    np.testing.assert_array_equal(second.get_xticks(), levels * 100)


def test_one_name_has_one_colour_in_all_panels():
    levels = np.array([1, 2, 4])
    figure = trends([Trend("B", levels, CURVES), Trend("K", levels, {"old": CURVES["old"]})], "accuracy")
    colours = [{line.get_color() for line in ax.lines if line.get_ydata()[0] > 0.5} for ax in figure.axes]
    assert colours[0] == colours[1] and len(colours[0]) == 1


def test_values_may_be_on_a_log_axis():
    ax = trends([Trend("B", np.array([1, 2, 4]), CURVES)], "time", ylim=(0.01, 10), log=True).axes[0]
    assert ax.get_yscale() == "log" and ax.get_ylim() == (0.01, 10)
    with pytest.raises(ValueError, match=r"^ylim begins at 0; on a log axis it begins above 0"):
        trends([Trend("B", np.array([1, 2, 4]), CURVES)], "time", log=True)


def test_curves_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"^new has shape \(3, 2\); with 2 levels it is \[N, seeds\]"):
        trends([Trend("B", np.array([1, 2]), CURVES)], "accuracy")
    with pytest.raises(ValueError, match=r"^settings is empty"):
        trends([], "accuracy")


def test_seeds_without_a_value_are_left_out_of_the_median():
    gaps = np.array([[0.1, 0.2, np.nan], [0.5, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    (ax,) = trends([Trend("B", np.array([1, 2, 4]), {"new": gaps, "none": gaps * np.nan})], "accuracy").axes
    middle = np.array([0.15, 0.5, np.nan])
    assert any(np.allclose(np.asarray(line.get_ydata()), middle, equal_nan=True) for line in ax.lines)
