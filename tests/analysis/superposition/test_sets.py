"""How features of sets lie, on arrangements whose angles are known."""

import numpy as np
import pytest

from toylab.analysis import sets

OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)]) * np.arange(1, 7)[:, None]  # two orthogonal sets, antipodes across
TRIPLES, PAIRS = np.repeat([0, 1], 3), np.repeat([0, 1, 2], 2)
IN_PAIRS = OCTAHEDRON[[0, 3, 1, 4, 2, 5]]


def test_cosines_have_no_scale_and_a_zero_feature_none():
    W = np.array([[2.0, 0], [0, 0], [1, 1]])
    expected = np.array([[1, 0, 0.5**0.5], [0, 0, 0], [0.5**0.5, 0, 1]])
    for power in (1, 1e-25, 1e25):
        np.testing.assert_allclose(sets.cosines(np.float32(W * power)), expected, atol=1e-6)


def test_an_octahedron_of_two_orthogonal_sets():
    W = np.stack([OCTAHEDRON, OCTAHEDRON])  # a batch
    np.testing.assert_allclose(sets.largest_within(W, TRIPLES), 0, atol=1e-6)
    np.testing.assert_allclose(sets.mean_within(W, TRIPLES), 0, atol=1e-6)
    np.testing.assert_allclose(sets.own_interference(W, TRIPLES), 0, atol=1e-6)
    np.testing.assert_allclose(sets.worst_antipode(W, TRIPLES), -1, atol=1e-6)


def test_an_octahedron_of_three_antipodal_pairs():
    np.testing.assert_allclose(sets.worst_partner(IN_PAIRS, PAIRS), -1, atol=1e-6)
    np.testing.assert_allclose(sets.largest_within(IN_PAIRS, PAIRS), 1, atol=1e-6)
    np.testing.assert_allclose(sets.own_interference(IN_PAIRS, PAIRS), 1, atol=1e-6)
    np.testing.assert_allclose(sets.worst_antipode(IN_PAIRS, PAIRS), 0, atol=1e-6)


def test_interference_by_lot_is_shared_as_pairs_are():
    W = np.ones((6, 1))  # all features one direction
    assert sets.own_interference(W, TRIPLES) == pytest.approx(2 / 5)
    assert sets.mean_within(W, TRIPLES) == pytest.approx(1)
    assert np.isnan(sets.mean_within(W, np.arange(6))) and np.isnan(sets.own_interference(np.eye(6), TRIPLES))


def test_a_projection_is_a_frame():
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 2)))[0]
    np.testing.assert_allclose(sets.off_frame(np.stack([Q, 1.5 * Q])), [0, 0.5], atol=1e-6)
    assert np.isnan(sets.off_frame(np.full((3, 2), np.nan)))
