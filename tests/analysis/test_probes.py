"""Probes: exact images are found exactly, noise is not, supports are found, splits leave no trace of what they hold out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis import probes

KEYS = jax.random.split(jax.random.key(0), 5)
X = jax.random.normal(KEYS[0], (300, 12)) * jnp.linspace(0.1, 30, 12) + 5
W, B = jax.random.normal(KEYS[1], (12, 3)), jnp.array([1.0, -2.0, 30.0])
NOISE = jax.random.normal(KEYS[2], (300, 3))
WEIGHT = jax.random.uniform(KEYS[3], (300,))
ridge, r2 = jax.jit(probes.ridge), jax.jit(probes.r2)  # compiled once for each shape
select = jax.jit(probes.select, static_argnums=(2, 3))


def test_an_affine_image_is_found_exactly():
    probe = ridge(X, X @ W + B)
    np.testing.assert_allclose(probe.weights, W, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(probe.bias, B, rtol=1e-3)
    assert float(r2(X @ W + B, probe(X))) > 1 - 1e-9


def test_ridge_solves_the_weighted_normal_equations():
    with jax.enable_x64():
        x, y, w = (np.asarray(a, np.float64) for a in (X, NOISE + X @ W, WEIGHT))
        w = w / w.sum()
        probe = ridge(x, y, 0.7, w)
        at, to = x - w @ x, y - w @ y
        direct = np.linalg.solve((at.T * w) @ at + 0.7 * np.eye(12), (at.T * w) @ to)
        np.testing.assert_allclose(probe.weights, direct, rtol=1e-10)
        np.testing.assert_allclose(probe.bias, w @ y - (w @ x) @ direct, rtol=1e-10)


def test_dimensions_that_activations_do_not_span_get_no_weight():
    flat = X[:, :4] @ jax.random.normal(KEYS[4], (4, 12))  # rank 4 of 12
    probe = ridge(flat, X[:, :4])
    assert r2(X[:, :4], probe(flat)) > 1 - 1e-6
    assert jnp.linalg.norm(probe.weights) < 10  # the shortest solution; rounding would else be blown up to 1e5


def test_noise_is_fitted_a_little_and_held_out_not_at_all():
    test = probes.held_out(300, 1 / 3)
    probe = ridge(X, NOISE, weight=~test)
    assert 0.02 < r2(NOISE, probe(X), ~test) < 0.15  # 12 of 200 dimensions
    assert r2(NOISE, probe(X), test) < 0


def test_rows_held_out_change_nothing():
    test = probes.held_out(300)
    assert test.sum() == 75 and np.array_equal(test, probes.held_out(300)) and test[:150].any() and test[150:].any()
    a = ridge(X, NOISE, weight=~test).weights
    b = ridge(jnp.where(test[:, None], X + 7, X), jnp.where(test[:, None], 100.0, NOISE), weight=~test).weights
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_weights_count_rows():
    twice = jnp.concatenate([X, X[:100]]), jnp.concatenate([NOISE, NOISE[:100]])
    weight = jnp.where(jnp.arange(300) < 100, 2.0, 1.0)
    np.testing.assert_allclose(ridge(*twice).weights, ridge(X, NOISE, weight=weight).weights, atol=2e-5)


@pytest.mark.parametrize("criterion", ["forward", "correlation"])
def test_a_known_support_is_found(criterion):
    chosen = select(X, X[:, [2, 5, 11]] * jnp.array([30, 1, 0.1]) + 0.01 * NOISE, 3, criterion)
    assert np.flatnonzero(chosen).tolist() == [2, 5, 11]


def test_forward_selection_looks_past_what_is_correlated_alone():
    """y = a − b where a and b nearly agree: each alone tells less of it than a distractor, both together all of it."""
    common, difference, other = X[:, 0] * 10, NOISE[:, 0], NOISE[:, 1]
    x = jnp.stack([common + difference, common, difference + 0.5 * other, other], axis=1)
    y = difference
    assert np.flatnonzero(select(x, y, 2, "correlation")).tolist() != [2, 3]
    assert np.flatnonzero(select(x, y, 2, "forward")).tolist() == [2, 3]


def test_the_mean_difference_finds_the_coordinate_that_moves():
    on = (WEIGHT > 0.5).astype(jnp.float32)
    x = (X - X.mean(0)) / X.std(0) + 3 * on[:, None] * (jnp.arange(12) == 7)
    assert np.flatnonzero(select(x, on, 1, "mean_difference")).tolist() == [7]


def test_a_sparse_probe_reads_only_what_was_chosen():
    probe, chosen = jax.jit(lambda x, y: probes.sparse(x, y, 4, weight=WEIGHT))(X, NOISE)
    assert chosen.sum() == 4
    np.testing.assert_array_equal(np.any(np.abs(probe.weights) > 1e-6, axis=1), chosen)


def test_more_coordinates_than_tell_anything_are_still_k():
    x = jnp.concatenate([X[:, :2], jnp.ones((300, 3))], axis=1)
    assert select(x, X[:, 0], 4).sum() == 4


def test_logistic_regression_reaches_the_minimum():
    labels = jnp.argmax((X - X.mean(0)) / X.std(0) @ W + 0.5 * NOISE, axis=1)
    with jax.enable_x64():
        x = jnp.asarray(X, jnp.float64)
        w = jnp.asarray(WEIGHT, jnp.float64) / jnp.sum(jnp.asarray(WEIGHT, jnp.float64))
        probe = jax.jit(probes.logistic, static_argnums=(2, 4))(x, labels, 3, 1e-2, 2000, w)
        std = jnp.sqrt(w @ (x - w @ x) ** 2)

        def loss(probe):
            log_p = jax.nn.log_softmax(probe(x))
            return -w @ log_p[jnp.arange(300), labels] + 0.01 / 2 * jnp.sum((probe.weights * std[:, None]) ** 2)

        gradient = jax.jit(jax.grad(loss))(probe)
        assert max(float(jnp.abs(g).max()) for g in gradient) < 1e-7
        assert probes.accuracy(probe(x), labels) > 0.85


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: probes.select(X, NOISE, 13), "k is 13: it must lie between 1 and the 12 coordinates of x"),
        (lambda: probes.select(X, NOISE, 2, "lasso"), "criterion is 'lasso': it must be one of forward, correlation"),
        (lambda: probes.select(X, NOISE, 2, "mean_difference"), "y has 3 columns: the criterion"),
        (lambda: probes.ridge(X, NOISE[:9]), r"y has shape \(9, 3\) .* with n = 300 as in x$"),
        (lambda: probes.ridge(X, NOISE, weight=WEIGHT[:9]), r"weight has shape \(9,\) .* \[n\] with n = 300 as in x$"),
        (lambda: probes.held_out(10, 1.5), "share 1.5"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
