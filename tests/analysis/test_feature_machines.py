"""Recursive feature machines, against a kernel predictor differentiated automatically, and what they learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.feature_machines import (
    adding_machine,
    circulant_metric,
    circulant_share,
    errors,
    quadratic_metric,
    recursive_features,
)

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


def pairs(p, seed=1):
    """One-hot pairs and sums mod p: half of them for training, the others."""
    a, b = np.divmod(np.random.default_rng(seed).permutation(p * p), p)
    x, y, n = np.concatenate([np.eye(p)[a], np.eye(p)[b]], axis=1), np.eye(p)[(a + b) % p], p * p // 2
    return x[:n], y[:n], x[n:], y[n:]


def test_the_first_metric_is_one_unless_given_and_that_of_a_machine_goes_on():
    once, twice = (recursive_features(X, Y, X_TEST, n, bandwidth=2.0, ridge=1e-3) for n in (1, 2))
    same = recursive_features(X, Y, X_TEST, 1, bandwidth=2.0, ridge=1e-3, M=np.eye(4))
    on = recursive_features(X, Y, X_TEST, 1, bandwidth=2.0, ridge=1e-3, M=once.M[0])
    for name in once._fields:
        np.testing.assert_array_equal(getattr(same, name), getattr(once, name))
        np.testing.assert_array_equal(getattr(on, name)[0], getattr(twice, name)[1])


def test_zeros_that_are_skipped_change_nothing():
    x = np.where(RNG.random(X.shape) < 0.4, 0, X)
    turn = np.linalg.qr(RNG.normal(size=(4, 4)))[0]  # after it no entry is 0
    plain, turned = (
        recursive_features(each, Y, other, 2, 2.0, 1e-3) for each, other in ((x, X_TEST), (x @ turn, X_TEST @ turn))
    )
    np.testing.assert_allclose(turned.outputs, plain.outputs, rtol=1e-9, atol=1e-10)  # condition and rounding as above
    np.testing.assert_allclose(
        turn @ turned.M @ turn.T, plain.M, rtol=1e-6, atol=1e-8
    )  # a root doubles the digits lost


def test_a_random_circulant_metric_adds_at_once():
    p = 31
    x, y, x_test, y_test = pairs(p)
    metric = circulant_metric(np.random.default_rng(0).random(p))
    assert circulant_share(metric[:p, p:]) == pytest.approx(1, abs=1e-5)
    plain, given = (recursive_features(x, y, x_test, 1, M=M) for M in (None, metric))
    assert errors(given.outputs, y_test).accuracy[0] > 0.9 > 1 / p > errors(plain.outputs, y_test).accuracy[0]


def test_circulant_metric_is_the_root_of_what_is_positive():
    p, column = 5, RNG.random(5)
    C = np.stack([np.roll(column - column.mean(), k) for k in range(p)], axis=1)
    whole = np.block([[np.eye(p) - 1 / p, C], [C.T, np.eye(p) - 1 / p]])
    values, vectors = np.linalg.eigh(whole)
    metric = np.asarray(circulant_metric(column), float)
    np.testing.assert_allclose(metric @ metric, (vectors * np.maximum(values, 0)) @ vectors.T, atol=1e-5)


def test_errors():
    outputs = np.array([[[0.9, 0.2], [0.6, 0.4]]])
    found = errors(outputs, np.array([[1, 0], [0, 1]]))
    assert [float(each[0]) for each in found] == pytest.approx(
        [0.5, (0.01 + 0.04 + 0.36 + 0.36) / 4, (0.01 + 0.36) / 2]
    )


@pytest.mark.parametrize("column", [None, np.random.default_rng(0).random(7).astype(np.float32)])
def test_what_is_traced_is_computed_on_the_host(column):
    p = 7
    order = np.stack([np.random.default_rng(seed).permutation(p * p) for seed in range(2)])
    train, test = order[:, :24], order[:, 24:]
    found = jax.jit(jax.vmap(lambda train, test: adding_machine(train, test, p, 3, column=column)))(train, test)
    a, b = np.divmod(np.arange(p * p), p)
    x, y = np.concatenate([np.eye(p)[a], np.eye(p)[b]], axis=1), np.eye(p)[(a + b) % p]
    first = None if column is None else circulant_metric(column)
    for i in range(2):
        wanted = recursive_features(x[train[i]], y[train[i]], x[test[i]], 3, M=first)
        np.testing.assert_array_equal(found["M"][i], np.float32(wanted.M))
        for name, outputs, index in (("train", wanted.fitted, train), ("test", wanted.outputs, test)):
            for key, value in errors(outputs, y[index[i]])._asdict().items():
                np.testing.assert_array_equal(found[f"{name}_{key}"][i], np.float32(value))


def test_the_metric_of_a_quadratic_network_is_the_root_of_its_gradients():
    W_in, W_out = RNG.normal(size=(4, 6)), RNG.normal(size=(6, 3))
    jacobians = jax.vmap(jax.jacrev(lambda x: (x @ W_in) ** 2 @ W_out))(jnp.asarray(X))  # [n, c, d]
    products = np.einsum("ncd,nce->de", jacobians, jacobians) / len(X)
    metric = np.asarray(quadratic_metric(W_in, W_out, X))
    np.testing.assert_allclose(metric @ metric, products, rtol=1e-4, atol=1e-5 * products.max())


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="n_iterations is 0: it must be at least 1"):
        recursive_features(X, Y, X_TEST, 0)
    with pytest.raises(ValueError, match=r"bandwidth is 0\.0: it must be above 0"):
        recursive_features(X, Y, X_TEST, bandwidth=0.0)
    with pytest.raises(ValueError, match="M is not symmetric: it must be"):
        recursive_features(X, Y, X_TEST, M=np.triu(np.ones((4, 4))))
