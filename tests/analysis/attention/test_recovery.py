"""How well a known circuit is recovered, on masks and scores of four edges worked out by hand."""

import numpy as np
import pytest

from toylab.analysis.attention import recovery
from toylab.analysis.attention.discovery import roc

TRUE = np.array([[True, False], [True, False]])
EDGES = np.ones((2, 2), bool)
SCORES = np.array([[4.0, 1.0], [-2.0, 3.0]])


def test_rates_of_padded_masks_leave_the_padding_out():
    kept = np.ones((2, 1, 2, 2), bool)
    precision, recall = recovery.padded_rates(kept, [TRUE, np.array([[True]])])
    np.testing.assert_allclose(precision, [[0.5], [1]])
    np.testing.assert_allclose(recall, [[1], [1]])
    with pytest.raises(ValueError):
        recovery.padded_rates(kept, [TRUE])


def test_faint_and_strong_edges_are_told_by_the_size_of_their_scores():
    assert recovery.n_faint(SCORES, TRUE, 0.6) == 1
    assert recovery.n_faint(SCORES, TRUE, 0.4) == 0
    np.testing.assert_array_equal(recovery.strong(SCORES, 0.6), [[True, False], [False, True]])
    np.testing.assert_array_equal(
        recovery.strong(np.stack([SCORES, -9 * SCORES]), 0.6)[1], recovery.strong(SCORES, 0.6)
    )


def test_curves_by_thresholds_and_by_scores():
    kept = np.array([[EDGES, TRUE, TRUE & False]] * 3)
    curves = recovery.compared_roc(kept, {"scores": np.stack([SCORES, SCORES, 10 * TRUE])}, TRUE, EDGES)
    assert list(curves) == ["ACDC", "scores"]
    assert curves["ACDC"][2] == 1
    false_rate, true_rate, area = curves["scores"]
    assert false_rate.shape == true_rate.shape == (3, 5)
    np.testing.assert_allclose(area, roc(np.abs(SCORES), TRUE, EDGES)[2])  # the median of twice this and 1
    np.testing.assert_allclose(area, 0.75)
    np.testing.assert_allclose(recovery.areas(np.stack([SCORES, 10.0 * TRUE]), TRUE, EDGES), [0.75, 1])


def test_an_edge_ranks_among_those_that_are_compared():
    scores = np.stack([SCORES, -SCORES])
    assert recovery.ranks(scores, [(0, 1), (0, 1)]).tolist() == [3, 2]
    assert recovery.ranks(scores, [(0, 1), (0, 1)], TRUE | [[False, True], [False, False]]).tolist() == [2, 2]
    assert recovery.strongest(scores, EDGES) == [(0, 0), (1, 0)]
    assert recovery.strongest(scores, ~TRUE) == [(1, 1), (0, 1)]
    assert recovery.at_edges(scores, [(1, 1), (0, 0)]).tolist() == [3, -4]
