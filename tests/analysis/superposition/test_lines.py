"""Lines and plateaus of dimensionalities, on values of which both are known."""

import numpy as np
import pytest

from toylab.analysis.superposition import lines


def test_even_values_have_no_line_and_all_values_at_one_place_have_the_highest():
    even = np.linspace(0, 1, 2001)[1:-1]
    counted, expected = lines.line_counts(even, 0.5)
    assert counted == pytest.approx(expected, rel=0.06)  # a value more or less at an end of 39
    counted, expected = lines.line_counts(np.full(100, 0.4), 0.4)
    assert counted == 100 and expected == pytest.approx(100 * 0.2611, rel=1e-3)  # P(|z| < 1/3)
    assert lines.line_counts(np.full(100, 0.4), 0.5)[0] == 0
    assert np.isnan(lines.line_counts([0.4, np.nan], 0.4)).all()


def test_a_straight_fall_does_not_stick_and_a_plateau_does():
    at = np.linspace(0, 1, 400)
    straight = 0.1**at
    plateau = np.where(abs(np.log(straight / 0.5)) < 0.5, 0.5, straight)
    lost = np.where(at == 0, np.nan, straight)
    never = 0.9 + 0.1 * straight
    found = lines.sticking(np.stack([straight, plateau, lost, never], axis=1))
    assert found[0] == pytest.approx(1, abs=0.04)  # a level or two of 35
    assert found[1] == pytest.approx(1 / np.log(0.55 / 0.45), abs=0.06)
    assert np.isnan(found[2:]).all()
    wide = lines.sticking(plateau[:, None], width=0.1)
    assert wide[0] == pytest.approx(1 / np.log(0.6 / 0.4), abs=0.06)
