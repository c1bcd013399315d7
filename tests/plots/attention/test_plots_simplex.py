"""Simplex pictures: corners and colours where they belong, text apart, images on one scale; R² by layer."""

from functools import cache

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from printed import assert_printable

from toylab.plots.attention import beliefs as layers
from toylab.plots.attention import simplex

DRAW = np.random.default_rng(0)
THREE, FIVE = DRAW.dirichlet([0.5] * 3, 300), DRAW.dirichlet([0.3] * 5, 60)
NEAR = np.stack([THREE * (1 - s) + s / 3 for s in (0.9, 0.5, 0.3, 0.2, 0.1, 0.0)])
STEPS = np.array([0, 10, 100, 1000, 2000, 4000])
R2 = np.linspace(0.9, 0.99, 6)
LAYERS = DRAW.uniform(0.2, 0.9, (3, 6))

DRAWINGS = {
    "pictures": lambda: simplex.pictures(
        THREE, {"untrained, $R^2$ = 0.957": NEAR[1], "trained, $R^2$ = 0.995": NEAR[-1]}
    ),
    "five states": lambda: simplex.pictures(FIVE, {"last residual": FIVE + 0.02, "all": FIVE}, DRAW.random(60)),
    "named states": lambda: simplex.pictures(
        FIVE, {"last residual": FIVE + 0.02}, DRAW.random(60), around={"S": 0, "1": 2, "F": 4, "T": 3, "0": 1}
    ),
    "one image": lambda: simplex.pictures(THREE, {"residuals": NEAR[2]}, palette="rgb"),
    "strip": lambda: simplex.strip(THREE, NEAR, STEPS, R2, at=(0, 10, 100, 1000, 2000, 4000)),
    "layers": lambda: layers.by_layer({"trained": LAYERS, "untrained": LAYERS / 2}),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


def test_three_states_are_the_corners_of_an_equilateral_triangle():
    corners = simplex.plane(THREE)
    np.testing.assert_allclose(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1), 1)
    np.testing.assert_allclose(corners.mean(axis=0), 0, atol=1e-12)


def test_more_states_are_seen_where_beliefs_vary_most():
    thin = np.zeros((300, 5))
    thin[:, [0, 3, 4]] = THREE  # two dimensions of four
    seen = thin @ simplex.plane(thin)
    kept = np.trace(np.cov(seen.T)) / np.trace(np.cov(thin.T))
    assert kept > 0.9999 and np.allclose(seen.mean(axis=0), 0, atol=1e-12)


def test_weights_say_which_beliefs_count():
    weight = (np.arange(60) < 30) * 1.0
    np.testing.assert_allclose(simplex.plane(FIVE, weight), simplex.plane(FIVE[:30]), atol=1e-9)


def test_a_certain_belief_has_its_states_colour_and_an_even_one_the_mean():
    shown = simplex.colors(np.array([[1, 0, 0], [1 / 3] * 3]))
    np.testing.assert_allclose(shown[0], to_rgb(simplex.SAFE[0]))
    np.testing.assert_allclose(shown[1], np.mean([to_rgb(color) for color in simplex.SAFE[:3]], axis=0))
    np.testing.assert_allclose(simplex.colors(np.eye(3), "rgb"), np.eye(3))


def test_every_panel_draws_each_belief_once_in_its_own_colour():
    panels = drawn("pictures").axes
    assert len(panels) == 3 and len({(ax.get_xlim(), ax.get_ylim()) for ax in panels}) == 1
    places = [ax.collections[1].get_offsets() for ax in panels]
    inks = [ax.collections[1].get_facecolor() for ax in panels]
    np.testing.assert_allclose(places[0], THREE @ simplex.plane(THREE))
    np.testing.assert_allclose(places[2], places[0])
    np.testing.assert_array_equal(inks[0], inks[1])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: simplex.pictures(THREE, {}), "there are 0 images"),
        (lambda: simplex.polygon({"a": 0, "b": 2}), "each of 0 to 1 has one corner"),
        (lambda: simplex.pictures(THREE, {"a": NEAR}), "an image has shape"),
        (lambda: simplex.pictures(2 * THREE, {"a": THREE}), "each row summing to 1"),
        (lambda: simplex.pictures(THREE, {"a": THREE}, np.ones(3)), "weight has shape"),
        (lambda: simplex.pictures(THREE, {"a": THREE}, palette="jet"), "palette is 'jet'; it is one of safe, rgb"),
        (lambda: simplex.colors(FIVE, "rgb"), "beliefs are over 5 states"),
        (lambda: simplex.strip(THREE, NEAR[:2], STEPS), "with 6 steps they are"),
        (lambda: layers.by_layer({"a": LAYERS, "b": LAYERS[:, 1:]}), "of one L"),
        (lambda: layers.by_layer({}), "r2 has 0 entries"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_states_stand_round_a_polygon_in_their_order():
    corners = simplex.polygon({"S": 0, "1": 2, "F": 4, "T": 3, "0": 1})
    np.testing.assert_allclose(corners[0], [0, 1], atol=1e-12)
    assert corners[2][0] > 0 > corners[1][0]  # clockwise: the second state is on the right
    np.testing.assert_allclose(np.linalg.norm(corners, axis=1), 1)
