"""What the claims of clock_pizza read off runs, on measures whose answers are known."""

import numpy as np
import pytest

from toylab.experiments.grokking import clock_pizza as page
from toylab.lab import Measures

RATES = np.array([0.0, 0.4, 0.6, 1.0])


@pytest.fixture
def measures():
    """Two seeds of four rates at two points; the second seed's pizza never falls, and one run does not solve the task."""
    gs = np.array([0.995, 0.97, 0.77, 0.4, 0.991, 0.99, 0.98, 0.96])
    solved = np.array([1, 1, 1, 1, 1, 1, 1, 0.5])
    circular = np.array([1, 1, 1, 1, 0.97, 0.995, 0.995, 1])
    one = np.ones(8)
    circles = np.stack([0.2 * one, 0.7 * one, -one, -one], axis=1)
    return Measures(
        {
            "steps": np.array([0, 9]),
            "valid": np.ones((8, 2), bool),
            "config/task.p": 10 * one,
            "config/task.n_train": 80 * one,
            "config/net.attention_rate": np.tile(RATES, 2),
            "config/seed": np.repeat([0, 1], 4),
            "train_accuracy": np.stack([0 * one, one], axis=1),
            "test_accuracy": np.stack([0 * one, solved], axis=1),
            "roundness/circularity": np.stack([0 * one, circular], axis=1),
            "symmetry/gradient_symmetricity": np.stack([0 * one, gs], axis=1),
            "distance/incorrect": np.stack([0 * one, 1 - gs], axis=1),
            "circles/clock": np.stack([circles, circles], axis=1),
            "circles/pizza": np.stack([circles, circles + np.array([0.6, 0.05, 0, 0])], axis=1),
        }
    )


def test_accuracy_is_over_all_pairs_and_failures_are_left_out(measures):
    assert page.solves(measures).tolist() == [True] * 7 + [False]
    assert page.accuracy(measures)[7, -1] == pytest.approx(0.8 + 0.2 * 0.5)
    found = page.at_rates(page.symmetricity, low=page.HIGH)(measures)
    assert found[0] == 0.4 and np.isnan(found[1])  # the second seed's run at rate 1 does not add


def test_runs_without_a_circle_do_not_count(measures):
    low = page.at_rates(page.symmetricity, high=page.LOW)
    np.testing.assert_allclose(low(measures), [0.9825, 0.99])  # without 0.991, of circularity 0.97
    np.testing.assert_allclose(low(measures, least=0.0), [0.9825, 0.9905])
    assert np.isnan(low(measures, least=1.01)).all()
    np.testing.assert_allclose(page.at_rates(page.lead, high=0.0)(measures), [60, np.nan])


def test_the_joined_model_has_embeddings_of_half_the_width_as_released():
    widths = {kind: page.linear(kind).net.d_model for kind in ("alpha", "beta", "delta")}
    assert widths == {"alpha": 256, "beta": 256, "delta": 128}


def test_the_transition_lies_between_the_runs_and_may_be_missing(measures):
    found = page.by_seed(measures, page.transition)
    assert found[0] == pytest.approx(0.4 + 0.2 * 0.02 / 0.2) and np.isnan(found[1])
    found = page.by_seed(measures, page.opposed)
    assert found[0] == pytest.approx(1) and np.isnan(found[1])  # two of its runs count


def test_the_clearest_circle_is_that_of_which_either_explains_most(measures):
    np.testing.assert_allclose(page.lead(measures), 60)  # 0.8 of the first, 0.75 of the second
    assert np.isnan(page.clear_lead(measures)).all()  # below 0.9
