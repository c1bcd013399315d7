"""Closed forms of linear regression: at known points, against large random matrices, and what is refused."""

import numpy as np
import pytest

from toylab.analysis.linear_regression import flow_losses, time_below


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
