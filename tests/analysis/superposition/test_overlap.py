"""Overlaps of features: exact frames, random directions, masks, rows of zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.superposition.overlap import mean_squared_overlap, overlaps, represented

RNG = np.random.default_rng(0)


def kgon(k):
    angle = 2 * np.pi * np.arange(k) / k
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@pytest.mark.parametrize("k", [3, 4, 5, 8])
def test_a_tight_frame_meets_welchs_bound(k):
    with jax.enable_x64():
        found = mean_squared_overlap(3 * kgon(k))
    np.testing.assert_allclose(found, (k - 2) / (2 * (k - 1)), rtol=1e-12)


@pytest.mark.parametrize("m", [4, 30])
def test_random_directions_overlap_by_one_over_m(m):
    found = mean_squared_overlap(RNG.normal(size=(400, m)) * RNG.uniform(0.1, 2, (400, 1)))
    np.testing.assert_allclose(m * found, 1, rtol=0.05)


def test_only_chosen_pairs_count():
    W = np.array([[1.0, 0], [0, 2], [3, 3], [0, 0]])
    np.testing.assert_allclose(mean_squared_overlap(W, np.array([True, True, False, False])), 0)
    np.testing.assert_allclose(mean_squared_overlap(W, np.array([True, True, True, False])), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(mean_squared_overlap(W), 1 / 6, rtol=1e-6)  # the row of zeros overlaps nothing
    assert np.isnan(mean_squared_overlap(W, np.array([True, False, False, False])))


def test_a_batch_axis_in_front_changes_nothing():
    W = RNG.normal(size=(3, 7, 4)).astype(np.float32)
    held = represented(W, 1.5)
    assert held.shape == (3, 7) and 0 < held.sum() < 21
    each = [mean_squared_overlap(w, h) for w, h in zip(W, held, strict=True)]
    np.testing.assert_allclose(mean_squared_overlap(W, held), each, rtol=1e-6)


def test_the_analyzer_counts_rows_longer_than_a_half():
    W = jnp.array([[0.6, 0], [0, 0.8], [0.49, 0], [0, 0]])
    found = overlaps({"W": W}, None)
    np.testing.assert_allclose(found["norms"], [0.6, 0.8, 0.49, 0], rtol=1e-6)
    assert found["share"] == 0.5 and found["mean_squared_overlap"] == 0


@pytest.mark.parametrize(("W", "of", "name"), [(np.ones(3), None, "W"), (np.ones((3, 2)), np.ones(2, bool), "of")])
def test_wrong_shapes_are_refused(W, of, name):
    with pytest.raises(ValueError, match=f"^{name} has shape"):
        mean_squared_overlap(W, of)
