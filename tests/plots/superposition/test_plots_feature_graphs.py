"""Feature graphs: components lie apart, each in its own plane; what cannot be drawn is refused."""

import numpy as np
import pytest
from handmade import polygon
from printed import assert_printable

from toylab.analysis.superposition import polytopes
from toylab.plots.superposition import feature_graphs as graphs


def together(*parts):
    """The features of each part in dimensions of their own, [n, m]."""
    W = np.zeros((sum(len(one) for one in parts), sum(one.shape[1] for one in parts)))
    row = column = 0
    for one in parts:
        W[row : row + len(one), column : column + one.shape[1]] = one
        row, column = row + len(one), column + one.shape[1]
    return W


DIGON = np.array([[1.0], [-1.0]])


def test_a_pentagon_in_many_dimensions_is_drawn_as_one():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0][:2]
    found = graphs.layout(3 * polygon(5) @ rotation)
    np.testing.assert_allclose(found @ found.T, polygon(5) @ polygon(5).T, atol=1e-12)
    assert graphs.layout(DIGON).tolist() == [[-1, 0], [1, 0]] and graphs.layout(np.ones((1, 3))).tolist() == [[0, 0]]


def test_boxes_do_not_overlap():
    extents = np.random.default_rng(0).uniform(0, 3, (30, 2))
    centres = graphs.packed(extents)
    apart = np.abs(centres[:, None] - centres) - (extents[:, None] + extents) / 2
    assert (apart.max(axis=-1) > 0)[~np.eye(30, dtype=bool)].all()
    assert np.ptp(centres, axis=0).max() < 1.6 * np.sqrt((extents + graphs.ROOM).prod(axis=1).sum())


def test_graphs_can_be_printed():
    W = [together(polygon(5), DIGON, DIGON, np.ones((1, 1))), together(*[DIGON] * 20), np.eye(2)[[0, 0, 0]]]
    block = [polytopes.polytope(one, atol=0.2)["block"] for one in W]
    D = [np.full(len(one), value) for one, value in zip(W, (0.4, 0.5, 1 / 3), strict=True)]
    assert_printable(graphs.feature_graphs(W, block, D, ["1/(1 − $S$) = 4", "digons\nalone", "copies"]))
    block[1] = np.full(40, -1)  # nothing of this model is drawn
    assert_printable(graphs.feature_graphs(W, block, D, ["some", "none", "copies"]))
    with pytest.raises(ValueError, match="no model has a feature"):
        graphs.feature_graphs(W[1:2], block[1:2], D[1:2], ["none"])
    with pytest.raises(ValueError, match="one entry for each model"):
        graphs.feature_graphs(W, block, D, ["too few"])
    with pytest.raises(ValueError, match=r"have shapes \(10, 5\), \(10,\), \(3,\)"):
        graphs.feature_graphs(W[:1], block[:1], D[2:], ["one"])
