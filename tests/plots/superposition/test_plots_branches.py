"""Branches of solutions and collapsing pairs: text inside and apart, the best of a branch joined, pictures over their x."""

from functools import cache

import numpy as np
import pytest
from printed import assert_printable

from toylab.plots.superposition import branches, collapse

X = np.geomspace(0.15, 1.5, 13)
DRAW = np.random.default_rng(0)
LOSSES = np.where(DRAW.random((33, 13)) < 0.5, np.nan, 0.01 * X + DRAW.random((33, 13)) * 0.002)
LOSSES[:, 0] = np.nan
FIVE = DRAW.standard_normal((13, 5, 2)) / 2
REGIMES = {
    "none collapsed": (0.0, 0.05),
    "one": (0.05, 0.15),
    "two": (0.15, 0.2),
    "all three": (0.25, 0.5),
    "PCA": (0.5, 1),
}
DENSITY = 2.0 ** -np.arange(6.5, 0, -0.5)
COSINES = DRAW.uniform(0, 1, (13, 3, 3))


def drawn_branches(pictures=True, **options):
    found = {
        "two digons, rare feature dropped": branches.Branch(LOSSES),
        "pentagon": branches.Branch(0.02 - LOSSES, [(X, 0.02 - 0.01 * X)]),
    }
    seen = dict(zip(X.tolist(), FIVE, strict=True)) if pictures else None
    closed = {"$p^2/3$: $W$ = (1, -1)": (X, 0.005 * X), "$V$: $W$ = (1, 0)": (X, 0 * X)}
    return branches.branches(X, found, "ratio of densities", "loss", closed=closed, pictures=seen, **options)


def drawn_pair():
    density = np.geomspace(0.45, 0.8, 5)
    loss = density[:, None] ** 2 / 3 * DRAW.uniform(0.9, 1.1, (5, 8))
    exact = np.stack([density**2 / 3] * 3)
    return branches.pair(density, DRAW.uniform(-1, 1, (5, 8, 2)), loss, exact, np.ones((3, 5, 2)), even=0.2)


def drawn_collapse(cosines=COSINES):
    pictures = dict(zip(DENSITY.tolist(), DRAW.standard_normal((13, 6, 2)) / 2, strict=True))
    return collapse.collapse(DENSITY, cosines, REGIMES, pictures, np.arange(6) // 2)


DRAWINGS = {
    "branches": lambda: drawn_branches(switch=0.42),
    "branches without pictures": lambda: drawn_branches(False, switch=np.nan),
    "pair": drawn_pair,
    "collapse": drawn_collapse,
}


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


def test_the_line_of_a_branch_joins_its_best_runs_where_it_has_any():
    ax = drawn("branches").axes[-1]
    joined = ax.get_lines()[1].get_xydata()
    np.testing.assert_allclose(joined, np.stack([X[1:], np.nanmin(LOSSES[:, 1:], axis=0)], axis=1))
    assert any(line.get_xdata()[0] == 0.42 for line in ax.get_lines())


def test_pictures_stand_over_their_x():
    *pictures, ax = drawn("branches").axes
    for x, picture in zip(X, pictures, strict=True):
        box = picture.get_position()
        place = ax.transData.transform((x, ax.get_ylim()[0]))[0]
        assert drawn("branches").transFigure.inverted().transform((place, 0))[0] == pytest.approx(
            (box.x0 + box.x1) / 2, abs=0.02
        )


def test_every_pair_of_every_model_is_a_point_near_its_density():
    ax = drawn("collapse").axes[-1]
    points = np.concatenate([line.get_xydata() for line in ax.get_lines() if line.get_marker() == "o"])
    assert len(points) == COSINES.size
    np.testing.assert_allclose(np.sort(points[:, 1]), np.sort(COSINES.ravel()))
    assert (np.min(abs(np.log(points[:, :1] / DENSITY)), axis=1) < 0.1).all()


BAD = {
    r"loss of 'a' has shape \(2, 3\)": lambda: branches.branches(X, {"a": branches.Branch(np.ones((2, 3)))}, "x", "y"),
    "x must rise": lambda: branches.branches(X[::-1], {}, "x", "y"),
    r"cosines has shape \(13, 3\)": lambda: drawn_collapse(COSINES[..., 0]),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
