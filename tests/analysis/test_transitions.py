"""When things happen in a training, on curves whose answer is known."""

import numpy as np
import pytest

from toylab.analysis.transitions import first_step, grokking_phases

STEPS = np.array([0, 10, 20, 40, 80])
CHANCE = np.log(113)
# The loss rises while memorising, falls below half of chance at 40; the weights are at 95 % of their fall at 80.
LOSS = np.array([CHANCE, 9.0, 3.0, 1.0, 0.01])
SQUARES = np.array([10.0, 110.0, 100.0, 50.0, 10.0])


def test_the_first_step_is_where_it_holds_first_and_nan_where_never():
    true = np.array([[False, False, True, False, True], [False] * 5, [True] * 5])
    np.testing.assert_array_equal(first_step(STEPS, true), [20, np.nan, 0])
    assert first_step(STEPS, true[0]) == 20


def test_phases_end_at_the_peak_at_half_of_chance_and_when_the_weights_have_fallen():
    np.testing.assert_array_equal(grokking_phases(STEPS, LOSS, SQUARES, 113), [10, 40, 80])


def test_a_loss_that_is_low_before_its_peak_has_not_formed_a_circuit():
    np.testing.assert_array_equal(grokking_phases(STEPS, np.array([1.0, 9, 3, 3, 1]), SQUARES, 113), [10, 80, 80])


def test_what_is_not_reached_is_nan_and_so_is_what_comes_after_it():
    np.testing.assert_array_equal(grokking_phases(STEPS, LOSS + 5, SQUARES, 113), [10, np.nan, np.nan])


def test_runs_that_ended_early_are_judged_up_to_their_end():
    loss = np.array([LOSS, [CHANCE, 9, 1, np.nan, np.nan]])
    squares = np.array([SQUARES, [10, 110, 10, np.nan, np.nan]])
    np.testing.assert_array_equal(grokking_phases(STEPS, loss, squares, 113), [[10, 40, 80], [10, 20, 20]])


def test_of_nan_throughout_nothing_was_reached():
    nan = np.full(5, np.nan)
    np.testing.assert_array_equal(grokking_phases(STEPS, np.array([nan, LOSS]), np.array([SQUARES, nan]), 113),
                                  [[np.nan] * 3, [10, 40, np.nan]])  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (np.array([100]), "steps has length 1, a trend needs at least two saved points"),
        (np.array([0, 10, 10]), "steps must ascend"),
    ],
)
def test_one_checkpoint_or_an_order_that_is_none_is_refused(steps, sentence):
    line = np.ones(len(steps))
    with pytest.raises(ValueError, match=sentence):
        first_step(steps, line > 0)
    with pytest.raises(ValueError, match=sentence):
        grokking_phases(steps, line, line, 113)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="n_classes is 1, it must be at least 2"):
        grokking_phases(STEPS, LOSS, SQUARES, 1)
    with pytest.raises(ValueError, match="sum_of_squares has shape"):
        grokking_phases(STEPS, LOSS, SQUARES[1:], 113)
