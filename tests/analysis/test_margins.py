"""Margins against predictors known by hand, and the largest against many others and against scipy's own programs."""

import jax
import numpy as np
import pytest
from scipy import optimize

from toylab.analysis import margins


def separable(n=20, d=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.integers(0, 2, n)


def test_the_margin_of_a_known_predictor():
    x, labels = np.float32([[3, 4], [-1, 0], [0, 2]]), np.array([1, 0, 1])
    np.testing.assert_allclose(margins.linear_margin(x, labels, np.float32([1, 1])), 1 / 2**0.5, rtol=1e-6)
    np.testing.assert_allclose(
        margins.linear_margin(x, labels, np.float32([[5, 5], [1, 0]]), order=1), [0.5, 0], rtol=1e-6
    )
    assert margins.linear_margin(x, labels, np.zeros(2, np.float32)) == 0
    assert margins.linear_margin(x, 1 - labels, np.float32([1, 1])) < 0


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_no_predictor_has_a_larger_margin_than_the_best(order, seed):
    x, labels = separable(seed=seed)
    best, w = margins.best_margin(x, labels, order)
    np.testing.assert_allclose(np.linalg.norm(w, order), 1, rtol=1e-8)
    signed = x * (2 * labels - 1)[:, None]
    np.testing.assert_allclose((signed @ w).min(), best, rtol=1e-6)
    near = w + 0.05 * np.random.default_rng(seed).normal(size=(2000, 40)) * np.abs(w).max()
    others = (signed @ near.T).min(axis=0) / np.linalg.norm(near, order, axis=1)
    assert others.max() <= best * (1 + 1e-9)
    # duality: a point of the hull of y x whose dual norm is the margin
    if order == 2:
        a, _ = optimize.nnls(
            np.vstack([signed.T, np.ones(20)]), np.append(np.zeros(40), 1.0)
        )  # the direction of the least
        np.testing.assert_allclose(np.linalg.norm(signed.T @ a) / a.sum(), best, rtol=1e-6)
    else:
        program = optimize.linprog(
            np.append(np.zeros(20), 1.0), A_eq=[np.append(np.ones(20), 0.0)], b_eq=[1.0],
            A_ub=np.vstack([np.hstack([s * signed.T, -np.ones((40, 1))]) for s in (1, -1)]), b_ub=np.zeros(80),
        )  # fmt: skip
        np.testing.assert_allclose(program.fun, best, rtol=1e-6)


def test_what_cannot_be_separated_has_no_margin():
    x, labels = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), np.ones(4, int)
    for order in (1, 2):
        best, w = margins.best_margin(x, labels, order)
        assert best == 0 and not w.any()


def test_a_homogeneous_margin_is_free_of_the_scale_of_the_weights():
    params = {"a": np.float32([[3.0, 0]]), "b": np.float32([4.0])}
    value = margins.homogeneous_margin(np.float32([50, 100]), params, 2)
    assert value == 2
    twice = {name: 2 * w for name, w in params.items()}
    np.testing.assert_allclose(margins.homogeneous_margin(4 * np.float32([50, 100]), twice, 2), value, rtol=1e-6)


def test_margins_are_taken_while_training():
    """Within jit, where labels are not known: the same, and nan for a label that is none."""
    x, labels = separable()
    w = np.float32(np.random.default_rng(1).normal(size=(3, 40)))
    traced = jax.jit(margins.linear_margin, static_argnums=3)
    np.testing.assert_allclose(traced(x, labels, w, 1), margins.linear_margin(x, labels, w, 1), rtol=1e-5)
    assert np.isnan(traced(x, labels - 1, w, 1)).all()


def test_what_does_not_fit_is_refused():
    x, labels = separable()
    with pytest.raises(ValueError, match="order is 3: the norm is of order 1 or 2"):
        margins.best_margin(x, labels, 3)
    with pytest.raises(ValueError, match="labels has -1: a margin has 2 classes, so it must lie between 0 and 1"):
        margins.best_margin(x, 2 * labels - 1)
