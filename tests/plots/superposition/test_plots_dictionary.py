"""Figures of dictionaries: text inside and apart, what is drawn is what was given, extremes survive."""

from functools import cache

import numpy as np
import pytest
from printed import assert_printable, pixels, written

from toylab.plots import style
from toylab.plots.superposition import dictionary

DRAW = np.random.default_rng(0)
L1 = 10 ** np.linspace(-2.5, 0.25, 8)
STEPS = np.concatenate([[0], np.unique(np.geomspace(10, 5000, 30).astype(int))])


def sweep(size=1, seeds=3, l1=L1):
    """As they come out: a band of l1 in which the features are found."""
    shape = (seeds, len(l1))
    found = np.exp(-((np.log(l1 / 0.4) / 1.2) ** 2)) * np.ones(shape) + 0.01 * DRAW.random(shape)
    l0 = 30 / (1 + (l1 / 0.15) ** 2) * np.ones(shape)
    return dictionary.Sweep(
        l1=l1,
        mmcs=0.45 + 0.5 * found,
        share=np.clip(found, 0, 1),
        l0=l0,
        fvu=1 / (1 + l0**2),
        dead=0.1 * size * np.ones(shape),
        floor=0.36 + 0.04 * size,
        floor_std=0.008,
    )


def sweeps(n=3, **options):
    return {f"{2**i}× dictionary": sweep(1 + i, **options) for i in range(n)}


def points(n=6):
    k = np.linspace(2, 5, n)
    return dictionary.Points(0.9 * k, 0.3 / (1 + k), 0.99 - 0.01 * k)


def frontier(found, others=("top-k", "untied"), at=1):
    return dictionary.frontier(found, {name: points() for name in others}, 3.0, at)


def training(n=8, steps=STEPS):
    rise = 1 / (1 + np.exp(-(np.log1p(steps) - 6))) * np.linspace(0, 1, n)[:, None]  # [L, T]
    return dictionary.training(steps, np.geomspace(0.003, 1.8, n), 0.44 + 0.5 * rise, 60 - 57 * rise, 0.44, 3.0)


DRAWINGS = {
    "over l1": lambda: dictionary.over_l1(sweeps()),
    "over l1, one size, one seed": lambda: dictionary.over_l1(sweeps(1, seeds=1)),
    "over one l1": lambda: dictionary.over_l1(sweeps(2, l1=L1[3:4])),
    "frontier": lambda: frontier(sweeps()),
    "frontier, one other": lambda: frontier(sweeps(2, seeds=1), ("top-k",)),
    "frontier, all dead but the others": lambda: frontier(sweeps(2, l1=L1[-1:])),
    "training": training,
    "training, two l1 and few steps": lambda: training(2, STEPS[:3]),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


def lines(ax, color):
    return [line for line in ax.lines if line.get_color() == color]


def test_dots_are_the_runs_lines_their_medians_and_the_floor_is_drawn():
    given = sweeps()
    figure = dictionary.over_l1(given)
    for each, color in zip(given.values(), style.SERIES, strict=False):
        dots, line, floor = lines(figure.axes[0], color)
        np.testing.assert_array_equal(dots.get_xydata(), np.stack([np.tile(L1, 3), each.mmcs.ravel()], axis=1))
        np.testing.assert_array_equal(line.get_xydata(), np.stack([L1, np.median(each.mmcs, axis=0)], axis=1))
        np.testing.assert_array_equal(floor.get_ydata(), each.floor)
    assert {"MMCS", "share of dead latents", *given} <= {text.get_text() for text in written(figure)}


def test_the_frontier_shows_others_in_the_colour_of_their_size_and_no_dead_runs():
    figure = drawn("frontier")
    (diamonds,) = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    np.testing.assert_array_equal(diamonds.get_xydata(), np.stack([points().l0, points().fvu], axis=1))
    assert diamonds.get_color() == style.SERIES[1] and diamonds.get_label() == "top-k"
    dots = lines(figure.axes[0], style.SERIES[0])[0].get_xdata()
    assert dots.min() >= dictionary.LEAST_L0 and (sweep().l0 < dictionary.LEAST_L0).any()


def test_training_has_a_line_for_each_l1_and_the_two_levels():
    left, right, *_ = drawn("training").axes
    assert len(left.lines) == len(right.lines) == 8 + 1
    assert (left.lines[-1].get_ydata()[0], right.lines[-1].get_ydata()[0]) == (0.44, 3.0)
    assert len({line.get_color() for line in left.lines}) == 9


@pytest.mark.slow
def test_a_redraw_gives_the_same_picture():
    one, other = (pixels(training()) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dictionary.over_l1({}), "sweeps has 0 entries"),
        (lambda: dictionary.over_l1({"1×": sweep()._replace(l0=np.ones(3))}), r"1×: l0 has shape \(3,\)"),
        (lambda: frontier(sweeps(2), "abcd"), "others has 4 entries; 3 can"),
        (
            lambda: dictionary.training(STEPS, L1, np.ones((2, 3)), np.ones((2, 3)), 0.4, 3.0),
            r"mmcs has shape \(2, 3\); here",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
