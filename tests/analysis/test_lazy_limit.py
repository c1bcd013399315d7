"""The lazy limit in closed form, against descent step by step, and the tangent kernel between two sets of examples."""

import jax
import numpy as np
import pytest

from toylab.analysis import representation as rep

RNG = np.random.default_rng(0)
FEATURES, FEATURES_TEST = RNG.normal(size=(6, 9)), RNG.normal(size=(4, 9))
W, TARGET, TARGET_TEST = RNG.normal(size=9), RNG.normal(size=6), RNG.normal(size=4)
K, K_TEST = FEATURES @ FEATURES.T, FEATURES_TEST @ FEATURES.T
MISSING, MISSING_TEST = TARGET - FEATURES @ W, TARGET_TEST - FEATURES_TEST @ W
TOP = np.linalg.eigvalsh(K)[-1]


def stepped(rate, steps):
    """Losses of descent on the mean squared error of a linear model, one step after the other, in float64."""
    w, found = W.copy(), {}
    for step in range(max(steps) + 1):
        found[step] = np.mean((FEATURES @ w - TARGET) ** 2), np.mean((FEATURES_TEST @ w - TARGET_TEST) ** 2)
        w = w - rate * 2 / len(TARGET) * FEATURES.T @ (FEATURES @ w - TARGET)
    return np.array([found[step] for step in steps]).T


@pytest.mark.parametrize("share", [0.3, 0.9, 1.7])  # of the rate n/λ_max; from ½ on steps go beyond the end
def test_losses_are_those_of_descent_step_by_step(share):
    rate, steps = share * len(K) / (2 * TOP), [0, 1, 2, 5, 40, 3000]
    with jax.enable_x64():
        found = rep.kernel_descent(K, K_TEST, MISSING, MISSING_TEST, rate, np.array(steps))
    # eigenvalues are exact to some 1e-15 of the largest, which 3,000 steps multiply by at most 3,000 · 1.7
    np.testing.assert_allclose(found, stepped(rate, steps), rtol=1e-10, atol=1e-20)


def test_the_end_is_kernel_regression():
    with jax.enable_x64():
        train, test = rep.kernel_descent(K, K_TEST, MISSING, MISSING_TEST, 1e-3, np.array([np.inf]))
    expected = np.mean((MISSING_TEST - K_TEST @ np.linalg.solve(K, MISSING)) ** 2)
    np.testing.assert_allclose(test, [expected], rtol=1e-8)  # K has the condition 1e2, float64 a rounding of 1e-16
    assert float(train[0]) < 1e-20


def test_what_the_kernel_does_not_see_is_never_learned():
    direction = np.ones((5, 1)) / 5**0.5
    missing = np.array([1.0, -1, 2, 0, 3])
    train, _ = rep.kernel_descent(
        direction @ direction.T, direction.T, missing, missing[:1], 0.1, np.array([0, np.inf])
    )
    # two sums of five numbers up to 9 in float32: each rounds by less than 1e-6 of itself
    np.testing.assert_allclose(train, [15 / 5, np.var(missing)], rtol=1e-5)


def test_a_rate_beyond_the_largest_diverges_and_nan_stays():
    rate = 1.2 * len(K) / TOP
    train, _ = rep.kernel_descent(K, K_TEST, MISSING, MISSING_TEST, rate, np.array([0.0, 10, 11]))
    assert train[0] < train[1] < train[2]
    losses = rep.kernel_descent(np.where(K[0, 0] == K, np.nan, K), K_TEST, MISSING, MISSING_TEST, 0.1, np.array([1.0]))
    assert np.isnan(losses).all()


def test_the_kernel_between_two_sets():
    x, other = RNG.normal(size=(5, 3)).astype(np.float32), RNG.normal(size=(4, 3)).astype(np.float32)
    params = {"W": RNG.normal(size=(3, 2)).astype(np.float32)}
    found = rep.ntk(lambda p, x: x @ p["W"], params, x, other)
    np.testing.assert_allclose(found, 2 * x @ other.T, rtol=1e-5, atol=1e-5)  # sums of six products of about 1


def test_kernel_regression_is_where_descent_ends():
    targets = np.stack([MISSING, TARGET], axis=1)
    with jax.enable_x64():
        found = np.asarray(rep.kernel_regression(K, K_TEST, targets))
        _, test = rep.kernel_descent(K, K_TEST, MISSING, MISSING_TEST, 1e-3, np.array([np.inf]))
    # K has the condition 1e2, float64 a rounding of 1e-16
    np.testing.assert_allclose(found, K_TEST @ np.linalg.solve(K, targets), rtol=1e-10)
    np.testing.assert_allclose(test, [np.mean((MISSING_TEST - found[:, 0]) ** 2)], rtol=1e-8)


def test_kernel_regression_leaves_out_what_the_kernel_does_not_see():
    direction = np.ones((5, 1)) / 5**0.5
    targets = np.array([[1.0], [-1], [2], [0], [3]])
    found = rep.kernel_regression(direction @ direction.T, direction @ direction.T, targets)
    np.testing.assert_allclose(found, np.full((5, 1), 1.0), rtol=1e-5)  # the mean: sums of five float32 numbers up to 3
    assert np.isnan(rep.kernel_regression(np.full((2, 2), np.nan), np.eye(2), np.ones((2, 1)))).all()
