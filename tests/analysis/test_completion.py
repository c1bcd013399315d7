"""The least nuclear norm against matrices of which it is known, and against many others with the same entries."""

import numpy as np
import pytest

from toylab.analysis import completion


def test_the_nuclear_norm_is_the_sum_of_singular_values():
    matrices = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    expected = np.linalg.svd(np.float64(matrices), compute_uv=False).sum(axis=-1)
    np.testing.assert_allclose(completion.nuclear_norm(matrices), expected, rtol=1e-5)
    np.testing.assert_allclose(completion.nuclear_norm(np.diag([3.0, -4.0])), 7, rtol=1e-6)
    np.testing.assert_allclose(completion.nuclear_norm(1e25 * matrices), 1e25 * expected, rtol=1e-5)
    assert np.isnan(completion.nuclear_norm(np.array([[np.nan, 1], [1, 1]])))


def test_a_corner_of_rank_one_is_completed():
    """[[1, 1], [1, d]] has the norm max(1 + d, √((1 − d)² + 4)), its trace or how far its eigenvalues are apart: 2
    at d = 1, and more elsewhere."""
    norm, matrix = completion.least_nuclear_norm(
        np.array([[1.0, 1], [1, np.nan]]), np.array([[True, True], [True, False]])
    )
    assert norm == pytest.approx(2, rel=1e-6)
    np.testing.assert_allclose(matrix, 1, atol=2e-3)  # the norm grows as (1 − d)²/4 beside d = 1


def test_what_is_not_given_is_zero_where_nothing_ties_it():
    known = np.eye(5, dtype=bool)
    norm, matrix = completion.least_nuclear_norm(np.diag(np.arange(5.0)), known)
    assert norm == pytest.approx(10, rel=1e-6)
    np.testing.assert_allclose(np.diag(matrix), np.arange(5))
    assert completion.least_nuclear_norm(np.zeros((2, 3)), np.ones((2, 3), bool))[0] == 0


@pytest.mark.parametrize("seed", range(3))
def test_no_other_matrix_with_the_entries_has_less(seed):
    rng = np.random.default_rng(seed)
    values, known = rng.normal(size=(6, 5)), rng.random((6, 5)) < 0.6
    norm, matrix = completion.least_nuclear_norm(values, known)
    np.testing.assert_allclose(matrix[known], values[known], rtol=1e-12)
    np.testing.assert_allclose(np.linalg.svd(matrix, compute_uv=False).sum(), norm, rtol=1e-12)
    for size in (1e-2, 1e-1, 1.0):
        others = matrix + size * np.where(known, 0, rng.normal(size=(300, 6, 5)))
        assert np.linalg.svd(others, compute_uv=False).sum(axis=-1).min() >= norm * (1 - 1e-6)


def test_what_does_not_fit_is_refused():
    known = np.ones((2, 2), bool)
    with pytest.raises(ValueError, match="values has known entries that are not finite"):
        completion.least_nuclear_norm(np.array([[1.0, np.inf], [0, 1]]), known)
    some = np.array([[True, True], [True, False]])
    with pytest.raises(RuntimeError, match="no least norm was found in 1 steps: it lies between"):
        completion.least_nuclear_norm(np.array([[1.0, 2], [3, 4]]), some, steps=1)
