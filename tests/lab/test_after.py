"""What runs do from a step of their own on, against curves whose halves and hulls are known."""

import numpy as np
import pytest

from toylab.lab import Measures, after

STEPS = np.array([0, 1, 2, 3, 4])


def runs(**measures):
    valid = np.array([[True] * 5, [True] * 4 + [False], [True] * 5])
    return Measures({"steps": STEPS, "valid": valid, **measures})


SINCE = np.array([1.0, 2.0, np.nan])
LINE = np.array([[9, 0, 1, 2, 3], [9, 9, 1, 5, 7], [0, 1, 2, 3, 4]], float)


def test_points_before_the_step_and_after_the_end_are_left_out():
    found = after.curves(runs(), SINCE, LINE)
    assert [(steps.tolist(), values.tolist()) for steps, values in found] == [
        ([1, 2, 3, 4], [0, 1, 2, 3]), ([2, 3], [1, 5]), ([], []),
    ]  # fmt: skip


def test_half_of_a_line_is_its_middle():
    np.testing.assert_allclose(after.half(runs(), SINCE, LINE), [2.5, 2.5, np.nan])


def test_a_convex_fall_has_no_bump_and_a_step_has_its_height():
    falls = np.array([[9, 8, 4, 2, 1], [9, 9, 9, 9, 9], [0, 0, 0, 0, 0]], float)
    stays = np.array([[9, 3, 3, 3, 0], [9, 9, 9, 9, 9], [0, 0, 0, 0, 0]], float)
    np.testing.assert_allclose(after.bumps(runs(), SINCE, falls), [0, np.nan, np.nan])
    assert after.bumps(runs(), SINCE, stays)[0] == pytest.approx(2)  # 3 at step 3, where the chord to 0 is at 1


def test_correlation_of_what_follows_and_of_what_does_not_vary():
    opposite = np.where(np.arange(5) > 0, -LINE, 50.0)
    found = after.correlations(runs(), SINCE, LINE, opposite)
    assert found[0] == pytest.approx(-1) and np.isnan(found[1:]).all()
    assert np.isnan(after.correlation(np.arange(3.0), np.ones(3)))
    assert after.correlation(np.array([0, 1, 0, -1.0]), np.array([1, 0, -1, 0.0])) == pytest.approx(0, abs=1e-15)
