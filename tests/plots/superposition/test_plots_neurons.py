"""Figures of neurons and of scaling: text inside and apart, what is drawn is what was given."""

from functools import cache

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from printed import assert_printable, pixels

from toylab.plots.superposition import neurons, scaling

DRAW = np.random.default_rng(0)
WIDTHS = np.array([6.0, 12, 24, 48])
LINE = DRAW.uniform(0.8, 1.2, (3, 4)) / WIDTHS


def stacked(panels=10, n=10, m=5, columns=5, lost=(), **options):
    W = DRAW.standard_normal((panels, n, m))
    W[list(lost)] = np.nan
    return neurons.stacked(W, [f"1 − $S$ = {i / panels:.2g}" for i in range(panels)], columns, **options)


def widths():
    lines = {
        "strong, α = 0": scaling.Line(LINE, {"∝ 1/m": 1 / WIDTHS, "mass left out": 2 / WIDTHS}),
        "weak, α = 0": scaling.Line(LINE[:1] * 0 + 0.3, {"mass left out": 3 / WIDTHS}),
    }
    nothing = {"strong, α = 0": scaling.Line(np.full((3, 4), np.nan))}
    losses = [scaling.Panel("loss ∝ $m^{-1}$", "loss", lines)] * 2
    return scaling.widths(WIDTHS, [*losses, scaling.Panel("share", "share", lines, log=False)][:3]), nothing


def maps(rows=3, columns=5):
    tables = [scaling.Map("exponent of the loss in $m$", DRAW.uniform(0, 1.1, (rows, columns)), 0, 1.1)] * 2
    return scaling.maps(tables, np.linspace(-1, 1, columns), np.linspace(0, 1, rows), "weight decay", "α")


DRAWINGS = {
    "stacked": stacked,
    "stacked of many": lambda: stacked(7, 100, 40, 2, least=0.5, own_scale=True),
    "stacked of one": lambda: stacked(1, 1, 1, 1),
    "stacked with names": lambda: stacked(2, 3, 6, 2, names=["feature 1", "feature 2", "feature 3"]),
    "stacked of nothing": lambda: stacked(3, lost=(0, 1, 2)),
    "widths": lambda: widths()[0],
    "widths of nothing": lambda: scaling.widths(WIDTHS, [scaling.Panel("loss", "loss", widths()[1], log=False)]),
    "maps": maps,
    "maps of many": lambda: maps(5, 10),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stacked", "widths", "maps"])
def test_a_redraw_gives_the_same_picture(name):
    global DRAW
    found = []
    for _ in range(2):
        DRAW = np.random.default_rng(0)
        found.append(pixels(DRAWINGS[name]()))
    assert len(set(found)) == 1


def test_bars_have_the_sizes_of_the_weights_and_stand_on_each_other():
    W = np.array([[1.0, -2.0], [0.5, 3.0], [0.001, -0.5]])
    (ax, _) = neurons.stacked(W[None], ["one"], 1).axes
    bars = [(round(bar.get_center()[0]), bar.get_y(), bar.get_height()) for bar in ax.patches]
    assert sorted(bars) == sorted([(0, 0, 1), (1, 0, -2), (0, 1, 0.5), (1, 0, 3), (1, -2, -0.5)])
    low, high = ax.get_ylim()
    assert low < -2.5 and high > 3


def test_panels_share_their_scale_unless_told_otherwise():
    W = np.array([[[1.0, -1.0]], [[10.0, 5.0]]])
    small, large = neurons.stacked(W, ["small", "large"], 2).axes
    assert small.get_ylim() == large.get_ylim()
    small, large = neurons.stacked(W, ["small", "large"], 2, own_scale=True).axes
    assert -1.2 < small.get_ylim()[0] < -1 and large.get_ylim()[0] == 0 and large.get_ylim()[1] > 10


def test_neurons_are_ordered_by_their_first_feature():
    W = np.array([[0.0, 0.9, 1, 0.1], [1, 0, 0.2, 0], [0.3, 0, 0, 0.7]])
    np.testing.assert_array_equal(neurons.by_first_feature(W), W[:, [2, 1, 0, 3]])


def test_lines_are_medians_and_a_name_keeps_its_colour():
    figure = drawn("widths")
    over_m, _, *_, median = figure.axes[0].get_lines()[:6]
    np.testing.assert_allclose(over_m.get_ydata(), 1 / WIDTHS)
    np.testing.assert_allclose(median.get_ydata(), np.median(LINE, axis=0))
    assert median.get_color() == over_m.get_color() == figure.axes[2].get_lines()[5].get_color()


def test_lines_to_hold_against_are_named_by_their_style():
    figure = drawn("widths")
    over_m, left_out, *_ = figure.axes[0].get_lines()
    of_weak = figure.axes[0].get_lines()[6]
    np.testing.assert_allclose(of_weak.get_ydata(), 3 / WIDTHS)
    (key,) = figure.legends
    named = {text.get_text(): line.get_linestyle() for text, line in zip(key.get_texts(), key.get_lines(), strict=True)}
    assert named == {"∝ 1/m": over_m.get_linestyle(), "mass left out": left_out.get_linestyle()} and len(named) == 2
    dashes = [line._dash_pattern for line in (over_m, left_out, of_weak)]
    assert dashes[0] != dashes[1] == dashes[2]
    assert [line._dash_pattern for line in key.get_lines()] == dashes[:2]
    many = {"a": scaling.Line(LINE, {str(i): LINE[0] for i in range(4)})}
    with pytest.raises(ValueError, match=r"^panels name 4 lines to hold against; at most 3 can be told apart$"):
        scaling.widths(WIDTHS, [scaling.Panel("", "", many)])


def test_a_map_has_its_values_in_its_cells():
    values = np.array([[0.1, np.nan], [0.3, 0.4]])
    ax = scaling.maps([scaling.Map("share", values, 0, 1)], np.array([-1, 1]), np.array([0, 1]), "x", "y").axes[0]
    np.testing.assert_array_equal(ax.findobj(QuadMesh)[0].get_array(), values)
    assert {t.get_text(): t.get_position() for t in ax.texts if t.get_text()[0] == "0"} == {
        "0.10": (0.5, 0.5),
        "0.30": (0.5, 1.5),
        "0.40": (1.5, 1.5),
    }


@pytest.mark.parametrize(
    ("draw", "start"),
    [
        (lambda: neurons.stacked(np.ones((2, 3)), ["a", "b"], 1), "W has shape"),
        (lambda: neurons.stacked(np.ones((2, 3, 4)), ["a"], 1), "W has shape"),
        (lambda: neurons.stacked(np.ones((1, 3, 4)), ["a"], 1, names=["x"]), "names has 1 entries"),
        (lambda: scaling.widths(WIDTHS, []), "panels is empty"),
        (lambda: scaling.widths(WIDTHS, [scaling.Panel("", "", {"a": scaling.Line(np.ones((3, 2)))})]), "a has shape"),
        (lambda: scaling.maps([scaling.Map("t", np.ones((2, 2)), 0, 1)], np.ones(3), np.ones(2), "", ""), "t has"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(draw, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        draw()
