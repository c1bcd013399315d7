"""Figures of what is periodic in a network that adds."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from printed import assert_printable, written

from toylab.plots.modular import periodic

P = 59
A, B = np.meshgrid(np.arange(P), np.arange(P), indexing="ij")
EXCLUDED = np.full((3, P // 2 + 1), np.nan)
EXCLUDED[0, [3, 17, 25]] = 0.1, 2, 0.03
EXCLUDED[1, [4, 5, 28]] = 0.2, 0.3, 5
FRACTIONS = np.stack([np.linspace(0.3, 1, 200), np.full(200, 0.95), np.full(200, 0.2)])


def single(shown=1):
    return periodic.single_frequency(FRACTIONS, EXCLUDED, np.full(3, 1e-7), shown)


def test_a_cosine_of_the_sum_is_at_one_pair_of_frequencies_and_no_energy_is_lost():
    k = 7
    of_sum = 3 + np.cos(2 * np.pi * k * (A + B) / P)
    energy = periodic.spectrum(of_sum)
    assert energy[k, k] == pytest.approx(P**2 / 2) and energy.sum() == pytest.approx(P**2 / 2)
    along_b = periodic.spectrum(np.sin(2 * np.pi * k * B / P))
    assert np.argwhere(along_b > 1e-6).tolist() == [[0, k]]


@pytest.mark.parametrize("pictures", [1, 3])
def test_pairs_are_printable_and_name_their_frequencies(pictures):
    values = np.cos(2 * np.pi * 7 * (A + B) / P) + 0.5 * np.cos(2 * np.pi * 12 * A / P)
    figure = periodic.over_pairs({f"picture {i}": values for i in range(pictures)})
    assert_printable(figure)
    told = [text.get_text() for text in written(figure)]
    assert told.count("(7, 7) 80 %\n(12, 0) 20 %") == pictures


@pytest.mark.parametrize(
    ("points", "found"),
    [
        ([], (0.98, 0.97)),
        ([(0.1, 0.0), (0.0, 0.1)], (0.98, 0.97)),
        ([(0.9, 0.9), (0.7, 0.7), (0.1, 0.1)], (0.02, 0.97)),
        ([(0.9, 0.9), (0.0, 0.9)], (0.98, 0.03)),
        ([(0.9, 0.9), (0.0, 0.9), (0.9, 0.0)], (0.98, 0.97)),  # none is free
    ],
)
def test_the_text_lies_where_it_hides_no_point(points, found):
    assert periodic.free_corner(points) == found


def test_every_neuron_and_every_key_frequency_is_drawn():
    figure = single()
    assert_printable(figure)
    left, right = figure.axes
    assert "100 % of neurons; others 22, 0 %" in " ".join(text.get_text() for text in left.texts)
    heights = [bar.get_height() for bar in right.patches if isinstance(bar, Rectangle)]
    assert heights == pytest.approx([0.1, 2, 0.03, 0.2, 0.3, 5])
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["3", "17", "25", "4", "5", "28"]


def test_of_many_runs_each_has_a_column_and_the_others_of_the_neurons_are_a_band():
    n = 20
    fractions = np.linspace(0.5, 1, n)[:, None] * np.ones((n, 100))
    excluded = np.full((n, P // 2 + 1), np.nan)
    excluded[:, [3, 17, 25]] = np.logspace(-3, 0, n)[:, None] * (1, 2, 3)
    figure = periodic.single_frequency(fractions, excluded, np.full(n, 1e-7), 4)
    assert_printable(figure)
    left, right = figure.axes
    assert "0 % of neurons\n19 others: 0 to 100 %" in left.texts[0].get_text()
    dots = [line for line in right.lines if line.get_marker() == "o"]
    assert [sorted(line.get_ydata()) for line in dots] == [sorted(own[[3, 17, 25]]) for own in excluded]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"fractions has shape \(3, 200\) and excluded \(2, 30\)"):
        periodic.single_frequency(FRACTIONS, EXCLUDED[:2], np.ones(3))
    with pytest.raises(ValueError, match="shown is 3; the runs are 0 to 2"):
        single(3)
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\); it is \[p, p\]"):
        periodic.over_pairs({"x": np.ones((3, 4))})
    with pytest.raises(ValueError, match="pictures has 0 entries"):
        periodic.over_pairs({})
