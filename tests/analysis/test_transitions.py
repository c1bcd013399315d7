"""When things happen in a training, on curves whose answer is known."""

from functools import partial

import numpy as np
import pytest

from toylab.analysis.transitions import (
    LEARNING_PHASES,
    bump,
    first_below,
    first_step,
    grokking_phases,
    half_risen,
    halfway,
    largest_fall,
    learning_phases,
    lost,
    power_law_exponent,
    share_near,
    steps_near,
)

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


def test_a_level_is_crossed_between_saved_points():
    values = np.array([[4, 3, 1, 0, 0], [4, 3, 3, 3, 3], [1, 0, 5, 5, 5], [4, np.nan, np.nan, np.nan, np.nan]], float)
    np.testing.assert_array_equal(first_below(STEPS, values, 2), [15, np.nan, 0, np.nan])
    assert first_below(STEPS, values[0], 0.5) == 30


def test_what_is_lost_is_lost_after_its_highest_value():
    rises_and_falls = np.array([0.1, 0.9, 1.0, 0.6, 0.2])
    never, ended, late = (
        np.array([0, 0.5, 1, 1, 1.0]),
        np.array([0, 1, 0.3, np.nan, np.nan]),
        np.array([1, 0.5, 1, 1, 0.4]),
    )
    unknown = np.full(5, np.nan)
    found = lost(STEPS, np.stack([rises_and_falls, never, ended, late, unknown]), 0.5)
    np.testing.assert_array_equal(found, [80, np.nan, 20, 80, np.nan])  # of two highest values the first counts


def test_halfway_is_between_start_and_end_whether_rising_or_falling():
    rising = np.array([1, 1, 2, 4, 5], float)  # 3 is half-way from the 2 of step 20 to the 4 of step 40
    constant, short = np.full(5, 2.0), np.array([0, 1, np.nan, np.nan, np.nan])
    found = halfway(STEPS, np.stack([rising, -rising, constant, short]))
    np.testing.assert_array_equal(found, [30, 30, np.nan, 5])


def test_half_risen_starts_at_the_lowest_value():
    falls_first = np.array([9, 0, 3, 4, 8], float)
    np.testing.assert_array_equal(half_risen(STEPS, np.stack([falls_first, np.full(5, np.nan)])), [40, np.nan])
    assert half_risen(STEPS, np.array([9, 0, 3, 4, np.nan])) == 20


def test_steps_near_a_level_are_counted_from_the_point_before():
    values = np.array([[1, 1.1, 2, 0.95, np.nan], [2, 2, 2, 2, 1]])
    np.testing.assert_array_equal(steps_near(STEPS, values, 1, 0.2), [10 + 20, 40])


def test_a_run_is_in_the_phase_of_what_it_fits_and_when():
    fits, late, never, nan = np.array([0, 1, 1, 1, 1.0]), np.array([0, 0, 0, 0, 1.0]), np.zeros(5), np.full(5, np.nan)
    train, test = np.stack([fits, fits, fits, never, nan]), np.stack([fits, late, never, never, fits])
    found = learning_phases(STEPS, train, test, delay=50)
    assert [LEARNING_PHASES[phase] for phase in found[:4]] == list(LEARNING_PHASES) and found[4] == -1
    assert learning_phases(STEPS, fits, late) == 0  # 70 steps are no delay of 1,000


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
    for found in (halfway, half_risen, partial(first_below, level=1), partial(steps_near, level=1, width=1)):
        with pytest.raises(ValueError, match=sentence):
            found(steps, line)
    with pytest.raises(ValueError, match=sentence):
        learning_phases(steps, line, line)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="n_classes is 1, it must be at least 2"):
        grokking_phases(STEPS, LOSS, SQUARES, 1)
    with pytest.raises(ValueError, match="sum_of_squares has shape"):
        grokking_phases(STEPS, LOSS, SQUARES[1:], 113)


def test_the_largest_fall_is_of_points_within_the_factor():
    values = np.array([[9.0, 8, 3, 2, 1], [9, 8, np.nan, 2, 1], [1, 2, 3, 4, 5], [9, np.nan, np.nan, np.nan, 1]])
    np.testing.assert_array_equal(largest_fall(STEPS, values), [5, 1, 0, np.nan])  # 10 → 20; 40 → 80; none
    assert largest_fall(STEPS, values[0], 4) == 6  # 10 → 40
    assert np.isnan(largest_fall(STEPS, values[0], 1.5))  # no two points are within it


def test_a_bump_is_what_stands_above_every_chord():
    straight, convex = 8 - STEPS / 10, np.array([8.0, 5, 3, 1, 0])
    plateau = np.array([8.0, 8, 8, 0, 0])  # 8 at step 20, where the chord from 0 to 40 is at 4
    with_gap = np.array([8.0, np.nan, 8, 0, 0])
    np.testing.assert_allclose(bump(STEPS, np.stack([straight, convex, plateau, with_gap])), [0, 0, 4, 4], atol=1e-12)
    assert np.isnan(bump(STEPS, np.full(5, np.nan)))


def test_a_power_law_is_fitted_from_the_first_time_to_the_last_with_both():
    time = np.array([0.0, 1, 2, 4, 8, 16])
    values = np.stack([3 * np.maximum(time, 1) ** -2, [9, 9, 4, 1, 9, 9]])
    np.testing.assert_allclose(power_law_exponent(time, values, 2, 4), [-2, -2])
    np.testing.assert_allclose(power_law_exponent(time, values[0]), -2)
    assert power_law_exponent(time, values[1], 2, 8) != pytest.approx(-2)
    np.testing.assert_array_equal(power_law_exponent(time, values, 3, 7), [np.nan, np.nan])  # a single time


def test_a_value_of_0_has_no_exponent_without_a_floor():
    time, values = np.array([1.0, 10]), np.array([[1.0, 0], [1, 1e-9]])
    np.testing.assert_allclose(power_law_exponent(time, values), [np.nan, -9])
    np.testing.assert_allclose(power_law_exponent(time, values, floor=1e-9), [-9, -9])


def test_a_share_near_a_level_is_of_the_steps_until_another():
    steps = np.arange(0, 101, 10)
    rise = steps / 100
    waits = np.where(steps <= 80, np.minimum(rise, 0.3), 1.0)
    never, at_once = np.full(11, 0.3), np.full(11, 0.7)
    back = np.where(steps == 50, 0.9, waits)
    found = share_near(steps, np.stack([rise, waits, back, never, at_once]), level=0.3, width=0.05, until=0.65)
    to_back = 40 + 10 * (0.65 - 0.3) / 0.6
    np.testing.assert_allclose(found, [10 / 65, 60 / 85, 20 / to_back, np.nan, np.nan])
    np.testing.assert_allclose(share_near(steps + 7, rise, 0.3, 0.05, 0.65), 10 / 65)
    with pytest.raises(ValueError, match=r"^until is 0.3, it must be at least level \+ width, 0.35$"):
        share_near(steps, rise, 0.3, 0.05, 0.3)
