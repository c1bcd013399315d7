"""Figures of task diversity: what is drawn of made-up runs, and what is refused."""

import numpy as np
import pytest
from printed import assert_printable

from toylab.plots.attention import diversity

NUMBERS = np.repeat([2, 32, 512], 2)
STEPS = np.array([0, 10, 100, 1000])
FIRST = np.broadcast_to(np.array([0.1, 0.2, 0.3, 0.4]), (6, 4, 4))  # unigram retrieval is the nearest


def test_the_colour_of_a_cell_is_the_nearest_solution():
    near = FIRST.copy()
    near[4:, 2:] = [0.3, 0.2, 0.2, 0.01]  # 512 chains end at bigram inference
    figure = diversity.phases(STEPS, NUMBERS, near, FIRST)
    assert_printable(figure)
    trained, new = (ax.collections[0].get_array().reshape(3, 3) for ax in figure.axes[:2])
    np.testing.assert_array_equal(trained, [[0, 0, 0], [0, 0, 0], [0, 3, 3]])
    assert not new.any()
    strength = figure.axes[0].collections[0].get_alpha()
    assert strength[2, 1] > strength[0, 0]  # its lead is larger


def test_losses_stand_over_their_exact_limits():
    loss = np.arange(6) / 10 + 1
    figure = diversity.over_number(
        NUMBERS, {"trained": loss, "new": loss + 1}, {"trained": loss, "new": loss}, FIRST[:, 0]
    )
    assert_printable(figure)
    dashed = [line for line in figure.axes[0].lines if line.get_label() == "_exact"]
    np.testing.assert_allclose([line.get_ydata() for line in dashed], [[1.05, 1.25, 1.45]] * 2)


def test_runs_that_disagree_are_refused():
    with pytest.raises(ValueError, match="new has 5 runs; numbers has 6"):
        diversity.phases(STEPS, NUMBERS, FIRST, FIRST[:5])
