"""Networks over their width: what joins, and what the medians are of."""

import numpy as np

from toylab.plots import rates

WIDTH = np.repeat([128, 48], 6)
RATE = np.tile(np.repeat([0.5, 0.6], 3), 2)
SEED = np.tile(np.arange(3), 4)
VALUES = np.arange(12.0) / 12


def drawn(solves):
    (ax,) = rates.over_width(WIDTH, RATE, SEED, solves, {"x": VALUES}).axes
    return ax


def test_widths_stand_in_their_order_and_medians_are_of_networks_that_solve_the_task():
    solves = np.ones(12, bool)
    ax = drawn(solves)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["48", "128"]
    medians = [line.get_ydata() for line in ax.lines if line.get_linewidth() == 2]
    np.testing.assert_allclose(medians, [[7 / 12, 1 / 12], [10 / 12, 4 / 12]])
    solves[:2] = False
    medians = [line.get_ydata() for line in drawn(solves).lines if line.get_linewidth() == 2]
    np.testing.assert_allclose(medians, [[7 / 12, 2 / 12], [10 / 12, 4 / 12]])


def test_a_line_joins_the_widths_of_each_seed_and_rate():
    lines = [line for line in drawn(np.ones(12, bool)).lines if line.get_linewidth() == 0.5]
    assert len(lines) == 6 and all(list(line.get_xdata()) == [0, 1] for line in lines)
    assert [list(line.get_ydata()) for line in lines[:1]] == [[6 / 12, 0]]


def test_where_no_network_of_a_width_solves_the_task_there_is_no_median():
    medians = [line.get_ydata() for line in drawn(WIDTH == 48).lines if line.get_linewidth() == 2]
    assert np.isnan(medians).tolist() == [[False, True], [False, True]]
