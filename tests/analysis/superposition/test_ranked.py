"""Which of features that are numbered by importance are kept, on weights written by hand."""

import numpy as np

from toylab.analysis.superposition import geometry, ranked


def test_an_orthogonal_basis_of_the_top_features_is_not_off():
    W = np.eye(6, 3)
    assert ranked.off_identity(geometry.gram(W), 3) == 0 == ranked.off_top(geometry.feature_norms(W), 3)
    W[4, 0] = 0.5
    assert ranked.off_identity(geometry.gram(W), 3) == 0.5 == ranked.off_top(geometry.feature_norms(W), 3)
    assert ranked.off_identity(geometry.gram(np.eye(6, 3)), 2) == 1 == ranked.off_top(np.eye(6)[0], 0)


def test_the_value_that_is_farthest():
    found = ranked.farthest([[0.5, 0.4, 0.7], [0.1, 0.5, 0.5], [np.nan, 0.5, 0.5]], 0.5)
    np.testing.assert_array_equal(found, [0.7, 0.1, np.nan])


def test_places_of_features_that_share_and_of_those_that_do_not():
    """0 and 1 alone, 2 and 3 antipodes, 4 not learned; then none alone."""
    norms, mixed = [1.0, 1, 1, 1, 0.1], [0.0, 0.1, 1, 1, 2]
    assert ranked.places_apart(norms, mixed) == 2
    assert ranked.places_apart(norms, mixed, shared=0.05) == 2
    assert np.isnan(ranked.places_apart(norms, np.ones(5)))
