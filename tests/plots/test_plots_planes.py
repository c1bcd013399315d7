"""One measure over another: text inside and apart, what is drawn, and what is refused."""

from functools import cache

import numpy as np
import pytest
from printed import assert_printable, written

from toylab.plots import planes

RNG = np.random.default_rng(0)
T = 15


def curve(runs=3, known=T):
    x = np.geomspace(60, 10, T) * RNG.uniform(0.9, 1.1, (runs, 1))
    y = np.clip(1 - x / 70, 0, 1)
    return np.where(np.arange(T) < known, x, np.nan), np.where(np.arange(T) < known, y, np.nan)


NAMES = (
    "4 layers × 3, 200 images",
    "4 layers × 5.2, 200 images",
    "12 layers × 3, 200 images",
    "12 layers × 3, 1,000 images",
)
DRAWINGS = {
    "two panels": lambda: planes.planes(
        [planes.Panel("norm of all weights", "test accuracy", {name: curve() for name in NAMES}, log=True, ylim=(0, 1.02)),
         planes.Panel("rank, last hidden layer", "test accuracy", {name: curve() for name in NAMES})],
        "after the fit; thin: 6 seeds; strong: their median; dot: end",
    ),
    "one panel": lambda: planes.planes([planes.Panel("norm", "accuracy", {"a": curve(1)})]),
    "nothing known": lambda: planes.planes([planes.Panel("norm", "accuracy", {"a": curve(2, 0), "b": curve(2, 9)})]),
}  # fmt: skip


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


def test_each_run_is_thin_the_median_strong_and_its_end_a_dot():
    left, right = drawn("two panels").axes
    assert len(left.lines) == len(right.lines) == 4 * (3 + 1 + 1)
    (alone,) = drawn("one panel").axes
    assert len(alone.lines) == 2  # a lone run is its own median
    assert left.get_xscale() == "log" and right.get_xscale() == "linear"


def test_a_name_has_one_colour_and_stands_in_the_legend():
    figure = drawn("two panels")
    first, second = ([line.get_color() for line in ax.lines] for ax in figure.axes)
    assert first == second and len(set(first)) == 4
    said = [text.get_text() for text in written(figure)]
    assert all(name in said for name in NAMES)


def test_the_dot_stands_where_the_median_run_ends():
    (ax,) = drawn("nothing known").axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    x, y = dots[-1].get_data()
    assert np.isfinite(x).all() and np.isfinite(y).all() and len(x) == 1


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ([], "panels is empty"),
        (
            [planes.Panel("x", "y", {"a": (np.ones((2, 3)), np.ones((2, 4)))})],
            r"a has x of shape \(2, 3\) and y of shape \(2, 4\)",
        ),
        ([planes.Panel("x", "y", {"a": (np.ones(3), np.ones(3))})], r"both are \[R, T\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(panels, message):
    with pytest.raises(ValueError, match=message):
        planes.planes(panels)
