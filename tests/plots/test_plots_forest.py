"""Forest plots: a line for each claim that has a ratio, a share or a range to lie in."""

import numpy as np
import pytest

from toylab.plots import forest, style

RATIO = {"name": "groks", "verdict": "agrees", "n": 20, "ratio": [0.9, 0.5, 1.6], "share": None, "confirmed": True}
SHARE = {
    "name": "A before B",
    "verdict": "undecided",
    "n": 6,
    "ratio": None,
    "share": [0.6, 0.3, None],
    "confirmed": False,
}
NEITHER = {"name": "a median", "verdict": "agrees", "n": 20, "ratio": None, "share": None}

MOST = {**NEITHER, "name": "no more than 3", "estimate": 2.0, "interval": [1.0, 5.0], "allowed": [None, 3.0]}


def lines(axes):
    return [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_color() not in ("k", "#000000")]


def test_ratios_and_shares_have_a_panel_each_and_others_none(tmp_path):
    figure = forest.forest([RATIO, SHARE, NEITHER])
    above, below = figure.axes
    assert [text.get_text() for text in above.texts] == ["groks", "agrees, n = 20"]
    np.testing.assert_allclose(lines(above)[0].get_xdata(), [0.5, 1.6])
    assert [text.get_text() for text in below.texts] == ["A before B", "undecided, n = 6"]
    assert style.save(figure, tmp_path / "forest.png").stat().st_size > 5000


def shade(axes):
    """From where to where the first row is shaded."""
    (band,) = axes.collections
    across = band.get_paths()[0].vertices[:, 0]
    return across.min(), across.max()


def test_a_range_is_shaded_on_the_scale_of_its_row_and_its_end_is_named():
    (axes,) = forest.forest([MOST]).axes
    assert shade(axes) == pytest.approx((0, 0.1 + 0.8 * 0.5))  # up to 3, of 1 to 5
    interval, mark = axes.lines[-2:]
    np.testing.assert_allclose(interval.get_xdata(), [0.1, 0.9])
    np.testing.assert_allclose(mark.get_xdata(), [0.1 + 0.8 * 0.25])
    assert [text.get_text().strip() for text in axes.texts] == ["3", "no more than 3", "agrees, n = 20"]


@pytest.mark.parametrize(
    ("estimate", "interval", "allowed", "found"),
    [
        (100.0, [10.0, 1000.0], [10.0, None], (0.1, 1)),  # on a log scale: 100 is halfway
        (0.5, [0.5, 0.5], [0.5, None], (0.5, 1)),  # all numbers are one
        (2.0, [None, None], [1.0, 3.0], (0.1, 0.9)),  # no interval: it goes on at both sides
        (0.0, [-1.0, 1.0], [0.0, 0.0], (0.5, 0.5)),  # a point
    ],
)
def test_a_row_in_its_range_whatever_the_numbers(estimate, interval, allowed, found, tmp_path):
    figure = forest.forest([{**MOST, "estimate": estimate, "interval": interval, "allowed": allowed}])
    (axes,) = figure.axes
    assert shade(axes) == pytest.approx(found)
    (mark,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert mark.get_xdata()[0] == pytest.approx(0.5)
    assert {line.get_marker() for line in axes.lines} >= ({"<", ">"} if interval[0] is None else {"o"})
    assert style.save(figure, tmp_path / "forest.png").exists()


def test_a_mark_of_development_seeds_is_hollow_and_an_interval_without_end_goes_on():
    (axes,) = forest.forest([SHARE]).axes
    marks = {line.get_marker(): line for line in axes.lines}
    assert marks["o"].get_markerfacecolor() == "white" and ">" in marks and "<" not in marks


@pytest.mark.parametrize("ratio", [[1.01, 1, 1.02], [1.5, 0.4, 4], [20, 0.01, 400], [1e4, 1e3, 1e5]])
def test_every_estimate_is_on_the_axis(ratio):
    (axes,) = forest.forest([{**RATIO, "ratio": ratio}]).axes
    low, high = axes.get_xlim()
    assert low < 1 < high and low * high == pytest.approx(1) and len(axes.get_xticks()) >= 1


def test_nothing_to_draw_is_refused_and_withdrawn_claims_are_not_drawn():
    assert forest.drawable([NEITHER, {**RATIO, "withdrawn": True}]) == []
    with pytest.raises(ValueError, match="no claim has a ratio"):
        forest.forest([NEITHER])


@pytest.mark.parametrize("n", [3, 9, 18, 28, 60])
def test_a_long_name_has_up_to_three_lines_within_its_row_and_is_cut_beyond(n):
    name = " ".join(["word"] * n)
    figure = forest.forest([{**SHARE, "name": name}, {**SHARE, "name": name}])
    first, said, second, _ = figure.axes[0].texts
    assert said.get_text().startswith("undecided")
    shown = first.get_text()
    assert shown.count("\n") <= 2 and shown.endswith("…") == (n > 36)
    if n <= 36:
        assert " ".join(shown.split()) == name
    figure.canvas.draw()
    upper, lower = (text.get_window_extent() for text in (first, second))
    assert not upper.overlaps(lower) and upper.x0 >= 0


def test_claims_of_the_best_fit_have_a_panel_without_a_line_at_one_half():
    share = {**SHARE, "name": "the best is a pentagon", "shows": "lowest loss", "share": [0.1, 0.05, 0.2]}
    runs, best = forest.forest([SHARE, share]).axes
    assert runs.get_xlabel() == "share of runs with the effect" and "judged is the best" in best.get_xlabel()
    halves = [[line for line in axes.lines if list(line.get_xdata()) == [0.5, 0.5]] for axes in (runs, best)]
    assert [len(found) for found in halves] == [1, 0]
