"""Recursive feature machines, against a kernel predictor differentiated automatically, and what they learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.feature_machines import circulant_share, recursive_features

RNG = np.random.default_rng(0)
X, Y, X_TEST = RNG.normal(size=(12, 4)), RNG.normal(size=(12, 3)), RNG.normal(size=(5, 4))


def predictor(M, x, bandwidth=2.0, ridge=1e-3):
    """What kernel regression with the metric M says of x [d], in float64."""

    def kernel(a, b):
        apart = a[:, None] - b
        return jnp.exp(-jnp.einsum("nmd,de,nme->nm", apart, M, apart) / (2 * bandwidth**2))

    weights = jnp.linalg.solve(kernel(X, X) + ridge * jnp.eye(len(X)), Y)
    return kernel(x[None], X)[0] @ weights


def test_each_iteration_is_the_regression_and_the_root_of_its_centred_gradients():
    found = recursive_features(X, Y, X_TEST, 2, bandwidth=2.0, ridge=1e-3)
    with jax.enable_x64():
        for M, outputs, after in zip((np.eye(4), found.M[0]), found.outputs, found.M, strict=True):
            # the kernel with its ridge has a condition of at most 1e4, float64 a rounding of 1e-16
            np.testing.assert_allclose(outputs, [predictor(M, x) for x in X_TEST], rtol=1e-9, atol=1e-10)
            gradients = np.stack([jax.jacrev(lambda x, M=M: predictor(M, x))(jnp.asarray(x)) for x in X])
            centred = (gradients - gradients.mean(axis=0)).reshape(-1, 4)
            np.testing.assert_allclose(after @ after, centred.T @ centred / len(X), rtol=1e-8, atol=1e-10)


def test_without_a_ridge_training_examples_are_met_and_the_relevant_direction_is_found():
    x = np.random.default_rng(1).normal(size=(80, 5))
    found = recursive_features(x, np.sin(2 * x[:, :1]), x, 4)
    np.testing.assert_allclose(found.outputs[0], np.sin(2 * x[:, :1]), atol=1e-5)
    shares = np.array([M[0, 0] / np.trace(M) for M in found.M])
    assert shares[-1] > 0.9 and (np.diff(shares) > 0).all()


def test_addition_makes_the_metric_circulant_and_is_learned_after_a_plateau():
    p = 23
    a, b = np.divmod(np.arange(p * p), p)
    x, labels = np.concatenate([np.eye(p)[a], np.eye(p)[b]], axis=1), (a + b) % p
    order = np.random.default_rng(1).permutation(p * p)
    train, test = order[: p * p // 2], order[p * p // 2 :]
    found = recursive_features(x[train], np.eye(p)[labels[train]], x[test], 40)
    right = (found.outputs.argmax(axis=-1) == labels[test]).mean(axis=1)
    assert right[:5].max() < 1 / p and right[-1] > 5 / p
    assert circulant_share(found.M[-1][:p, p:]) > 0.8 > 0.2 > circulant_share(found.M[0][:p, p:], 1)


def test_circulant_share():
    index = np.arange(7)
    circulant = RNG.normal(size=7)[(index[:, None] - index) % 7]
    assert float(circulant_share(circulant)) == pytest.approx(1) and float(circulant_share(circulant[:, ::-1], 1)) == (
        pytest.approx(1)
    )
    assert float(circulant_share(circulant, 1)) == pytest.approx(0)  # each i + j has every i − j once
    assert np.isnan(circulant_share(np.ones((3, 3))))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="n_iterations is 0: it must be at least 1"):
        recursive_features(X, Y, X_TEST, 0)
    with pytest.raises(ValueError, match=r"bandwidth is 0\.0: it must be above 0"):
        recursive_features(X, Y, X_TEST, bandwidth=0.0)
