"""Figures of memorisation: text inside and apart, lone runs and holes survive, what is drawn is what was given."""

from functools import cache

import numpy as np
import pytest
from printed import assert_printable

from toylab.plots import style
from toylab.plots.superposition import samples

DRAW = np.random.default_rng(0)
SIZES = np.array([3, 5, 8, 15, 50, 100, 300, 1000, 10_000])
TRAIN = np.tile(1 - 1 / (1 + SIZES / 30), (4, 1))
TEST = 1 + 200 * np.exp(-(np.log(SIZES / 300) ** 2)) * DRAW.uniform(0.5, 1.5, (4, 1)) - 0.01 * (SIZES > 900)


def ragged(values):
    values = values.copy()
    values[1:, -1] = np.nan
    return values


def clouds(sizes, n=50):
    """hidden [R, T, 2] of polygons and W [R, n, 2], nan beyond each size."""
    hidden = np.full((len(sizes), max(sizes), 2), np.nan)
    for run, size in enumerate(sizes):
        angle = 2 * np.pi * np.arange(size) / size
        hidden[run, :size] = 1.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return hidden, DRAW.standard_normal((len(sizes), n, 2))


def planes(*sizes):
    return samples.planes(np.array(sizes), *clouds(sizes))


def dimensionalities(*sizes):
    of_samples = [np.where(np.arange(max(sizes)) < size, 2 / size, np.nan) for size in sizes]
    return samples.dimensionalities(np.array(sizes), np.array(of_samples), DRAW.uniform(0, 0.3, (len(sizes), 200)))


def polygons(*sizes):
    D = [np.where(np.arange(max(sizes)) < size, 2 / size, np.nan) for size in sizes]
    return samples.polygons(np.array(sizes), clouds(sizes)[0], np.array(D))


DRAWINGS = {
    "polygons": lambda: polygons(5, 5, 5, 5, 6, 6, 6, 6, 10, 10, 10, 10),
    "polygons of one": lambda: polygons(5),
    "polygons with a hole": lambda: polygons(8, 5, 5),
    "descent": lambda: samples.double_descent(SIZES, ragged(TRAIN), ragged(TEST)),
    "descent of one seed": lambda: samples.double_descent(SIZES, TRAIN[:1], TEST[:1]),
    "descent of two sizes": lambda: samples.double_descent(SIZES[:2], TRAIN[:, :2], TEST[:, :2]),
    "descent without a bump": lambda: samples.double_descent(SIZES, TRAIN, np.ones_like(TEST)),
    "dimensionalities": lambda: dimensionalities(3, 5, 5, 50, 300, 3000),
    "dimensionalities of one": lambda: dimensionalities(5),
    "planes": lambda: planes(3, 5, 6, 8, 10, 15, 100, 300, 1000, 3000),
    "planes of one": lambda: planes(5),
    "planes of three": lambda: planes(300, 5, 8),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


def test_the_curve_is_the_median_of_the_seeds_and_every_seed_a_dot():
    above, bump, _ = drawn("descent").axes
    lines = {
        tuple(line.get_color()): line
        for line in above.lines
        if line.get_linestyle() == "-" and len(line.get_xdata()) == 9
    }
    test = lines[tuple(style.TEST)]
    np.testing.assert_allclose(test.get_ydata(), np.nanmedian(ragged(TEST), axis=0))
    dots = [line for line in above.lines if line.get_marker() == "o" and line.get_color() == style.TEST]
    np.testing.assert_array_equal(dots[0].get_ydata(), ragged(TEST).ravel())
    assert above.get_ylim()[1] > 1 and bump.get_ylim()[1] > np.nanmax(TEST)


def test_every_sample_stands_at_its_hidden_vector():
    figure, (hidden, _) = drawn("planes of three"), clouds((300, 5, 8))
    for ax, run in zip(figure.axes, (1, 2, 0), strict=False):  # in the order of size
        points = ax.collections[-1].get_offsets()
        np.testing.assert_allclose(points, hidden[run][np.isfinite(hidden[run]).all(axis=1)])
        assert ax.get_xlim()[1] > 1.5 and ax.get_xlim() == ax.get_ylim()
    assert [ax.get_title() for ax in figure.axes[:3]] == ["$T$ = 5", "$T$ = 8", "$T$ = 300"]


def test_few_dots_stand_for_many_but_keep_both_ends():
    values = np.linspace(1e-4, 0.9, 5000)
    figure = samples.dimensionalities(np.array([5000]), values[None], values[None])
    heights = np.asarray(figure.axes[0].collections[0].get_offsets())[:, 1]
    assert len(heights) == 400 and heights.min() == values[0] and heights.max() == values[-1]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: samples.double_descent(SIZES, TRAIN, TEST[:, 1:]), r"^test has shape \(4, 8\)"),
        (lambda: samples.dimensionalities(SIZES, TRAIN, TEST.T), r"^of_samples has shape \(4, 9\)"),
        (lambda: samples.polygons(SIZES[:2], np.zeros((2, 4, 2)), np.zeros((2, 5))), r"^hidden has shape \(2, 4, 2\)"),
        (lambda: samples.planes(SIZES[:1], np.zeros((1, 4, 3)), np.zeros((1, 4, 2))), r"^hidden has shape \(1, 4, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
