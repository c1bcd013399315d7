"""Closed forms of linear regression: at known points, against large random matrices and other methods, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from toylab.analysis.linear_regression import flow_losses, forgetting_steps, time_below, unseen_loss


def test_known_points():
    start = flow_losses(np.array([0.0]), 0.5)
    np.testing.assert_allclose(start, 1, atol=1e-6)
    train, test = flow_losses(np.array([1e4]), 2.0)  # half of the directions are never seen
    np.testing.assert_allclose([train[0], test[0]], [0, 0.5], atol=1e-6)
    early, late = (time_below(level, 0.1) for level in (1e-2, 1e-4))  # few dimensions: all eigenvalues near 1
    assert 1.5 < early < late < 8 and time_below(1e-3, 0.1, test=False) < time_below(1e-3, 0.1)
    assert time_below(0.4, 2.0) == np.inf and time_below(0.4, 2.0, test=False) < 1


@pytest.mark.parametrize("ratio", [0.3, 0.7, 1.5])
def test_losses_are_those_of_random_inputs(ratio):
    d = 600
    n, times = round(d / ratio), np.array([0.5, 2.0, 10.0])
    found = []
    for seed in range(4):
        x = np.random.default_rng(seed).normal(size=(n, d))
        values = np.linalg.eigvalsh(x.T @ x / n)
        left = np.exp(-2 * np.outer(times, values))
        found.append([(left * values).mean(axis=1), left.mean(axis=1)])
    # means over eigenvalues scatter as 1/d: five standard errors of the four draws, and of the quadrature
    spread = 5 * np.std(found, axis=0, ddof=1) / 2 + 1e-4
    assert (np.abs(np.mean(found, axis=0) - flow_losses(times, ratio)) < spread + 3e-3 * np.mean(found, axis=0)).all()


@pytest.mark.parametrize("ratio", [0.3, 0.7, 1.5])
def test_losses_are_the_integrals_over_the_density_of_marchenko_and_pastur(ratio):
    """1e-9 was asked of both losses; quad states an error below 1e-11."""
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2

    def integrand(v, k, t):
        return np.sqrt((high - v) * (v - low)) / (2 * np.pi * ratio * v) * v**k * np.exp(-2 * v * t)

    for t in (0.0, 0.4, 3.0, 20.0):
        exact = [integrate.quad(integrand, low, high, (k, t), epsabs=1e-13, limit=500)[0] for k in (1, 0)]
        exact[1] += max(1 - 1 / ratio, 0)
        np.testing.assert_allclose(np.array(flow_losses(np.array([t]), ratio))[:, 0], exact, atol=1e-9)


def spiked(seed, n=12, d=30):
    rng = np.random.default_rng(seed)
    s = np.where(np.arange(d) < 4, 1.0, 0.3)
    return rng.normal(size=(n, d)) * s, rng.normal(size=d), s


def test_what_is_unseen_is_the_start_less_its_projection_on_the_examples():
    x, w, s = spiked(0)
    left = w - np.linalg.lstsq(x, x @ w, rcond=None)[0]
    np.testing.assert_allclose(
        unseen_loss(np.float32(w), np.float32(x), np.float32(s)), (s * left) @ (s * left), rtol=1e-5
    )
    inside = np.float32(x.T @ np.arange(12.0))
    assert unseen_loss(inside, np.float32(x), np.float32(s)) < 1e-10 * ((s * inside) ** 2).sum()


def test_in_float64_the_ridge_oracles_are_exact_to_1e_9():
    """1e-9 was asked. Of 30 dimensions roundings of 64 bits leave 1e-13; of 200 steps of gradient descent 1e-12."""
    x, w, s = spiked(2)
    left = w - np.linalg.lstsq(x, x @ w, rcond=None)[0]
    y, rate, decay = x[:, 0], 0.2, 0.01
    after = w
    for _ in range(200):
        after = after - rate * (x.T @ (x @ after - y) / len(x) + decay * after)
    with jax.enable_x64():
        q, q_after = (float(unseen_loss(one, x, s)) for one in (w, after))
    np.testing.assert_allclose(q, (s * left) @ (s * left), rtol=1e-9)
    np.testing.assert_allclose(q_after, q * (1 - rate * decay) ** 400, rtol=1e-9)
    np.testing.assert_allclose(forgetting_steps(np.array(q), q_after, np.array(rate * decay)), 200, rtol=1e-9)


def test_gradient_descent_with_decay_forgets_by_the_closed_form():
    """What is unseen falls by (1 − lr·κ)² a step, whatever is fitted; the steps are where it has the level."""
    x, w, s = (np.float32(one) for one in spiked(1))
    y, rate, decay = x[:, 0], 0.2, 0.01

    def step(_, w):
        return w - rate * (x.T @ (x @ w - y) / len(x) + decay * w)

    start = float(unseen_loss(w, x, s))
    after = [float(unseen_loss(jax.lax.fori_loop(0, n, step, jnp.asarray(w)), x, s)) for n in (100, 1000)]
    np.testing.assert_allclose(after, start * (1 - rate * decay) ** np.array([200.0, 2000.0]), rtol=1e-4)
    found = forgetting_steps(np.array([start, 1e-9]), after[1], np.full(2, rate * decay))
    np.testing.assert_allclose(found, [1000, 0], rtol=1e-4)
    small = forgetting_steps(np.array(start), after[1], np.array(1e-6))
    np.testing.assert_allclose(small, np.log((start / after[1]) ** 0.5) / 1e-6, rtol=1e-5)


def test_a_time_is_where_the_loss_has_the_level():
    for ratio in (0.2, 0.9):
        for test in (False, True):
            at = time_below(2.6e-4, ratio, test)
            np.testing.assert_allclose(flow_losses(np.array([at]), ratio)[int(test)], 2.6e-4, rtol=1e-4)


def test_what_is_refused():
    with pytest.raises(ValueError, match="ratio is 1: it must be above 0, and not 1"):
        flow_losses(np.array([1.0]), 1)
    with pytest.raises(ValueError, match="times has -1"):
        flow_losses(np.array([-1.0]), 0.5)
    with pytest.raises(ValueError, match="level is 0"):
        time_below(0, 0.5)
    with pytest.raises(ValueError, match="level is -1"):
        forgetting_steps(np.array(1.0), -1, np.array(0.1))
    for rate in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"rate has {rate}: it must be above 0 and below 1"):
            forgetting_steps(np.ones(2), 0.1, np.array([rate, 0.5]))
