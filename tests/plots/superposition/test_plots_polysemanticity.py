"""The figures of polysemantic neurons: what is drawn where, and refusals."""

import numpy as np
import pytest

from toylab.plots.superposition import polysemanticity as plots

rng = np.random.default_rng(0)
STEPS = np.array([0, 10, 100, 1000])


def lines(ax):
    return [line.get_ydata() for line in ax.lines]


def test_allocation_counts_the_shares_and_shows_their_mean():
    capacity = np.array([[[1.0, 1.0, 0.0], [0.5, 0.5, 1.0]], [[1.0, 1.0, 0.0], [0.4, 0.6, 1.0]]])
    figure = plots.allocation(np.array([1.0, 10.0]), capacity, n_hidden=2)
    shares, kinds, bar = figure.axes
    np.testing.assert_allclose(shares.images[0].get_array(), capacity.mean(axis=0).T)
    assert shares.images[0].get_clim() == (0, 1) and bar.get_ylabel() == "capacity C"
    dedicated, shared, total = (line.get_ydata() for line in kinds.lines[2::3])
    np.testing.assert_allclose(dedicated, [2, 1])
    np.testing.assert_allclose(shared, [0, 2])
    np.testing.assert_allclose(total, [2, 2])
    with pytest.raises(ValueError, match=r"^capacity has shape \(2, 2, 3\); with 3 levels it is \[R, N, n\]$"):
        plots.allocation(np.array([1.0, 3.0, 10.0]), capacity, n_hidden=2)


def test_collisions_show_every_run_their_mean_and_both_predictions():
    counts = np.array([[4, 2], [6, 2], [5, 0]])
    figure = plots.collisions(np.array([128, 256]), counts, np.array([5.7, 3.3]), np.array([8.0, 4.0]))
    drawn = lines(figure.axes[0])
    assert all(any(np.array_equal(run, line) for line in drawn) for run in counts)
    assert all(any(np.allclose(line, value) for line in drawn) for value in ([5, 4 / 3], [5.7, 3.3], [8, 4]))
    (bars,) = figure.axes[0].containers[0].lines[2]
    low, high = bars.get_segments()[0][:, 1]
    assert (low + high) / 2 == pytest.approx(5) and high - low == pytest.approx(4 / 3**0.5)
    with pytest.raises(ValueError, match=r"^exact has 3 widths; n_neurons has 2$"):
        plots.collisions(np.array([128, 256]), counts, np.zeros(3), np.zeros(2))


def test_fourth_norms_and_their_mean():
    kinds = {"bernoulli": rng.random((3, 4)), "gaussian": rng.random((3, 4))}
    drawn = lines(plots.fourth_norms(STEPS, kinds, 0.19).axes[0])
    for values in kinds.values():
        assert any(np.allclose(values.mean(axis=0), line) for line in drawn)
    assert any(np.allclose(line, 0.19) for line in drawn)


def test_decay_leaves_time_zero_out_and_is_logarithmic():
    time, left = np.array([0.0, 1.0, 10.0]), np.array([[100.0, 50, 3], [100, 40, 2]])
    figure = plots.decay(time, {"left": left, "norm": left**0.5}, {"left": left[0] * 2, "norm": left[0]})
    for ax, values, theory in zip(figure.axes, (left, left**0.5), (left[0] * 2, left[0]), strict=True):
        assert ax.get_xscale() == ax.get_yscale() == "log"
        exact, *runs = lines(ax)
        np.testing.assert_allclose(exact, theory[1:])
        np.testing.assert_allclose(runs, values[:, 1:])


def test_monosemantic_neurons_are_ranked():
    neurons = {"0": rng.random((2, 5)), "-1": rng.random((2, 5))}
    share = {"0": rng.random((2, 4)), "-1": rng.random((2, 4))}
    through, end = plots.monosemantic(STEPS, share, neurons).axes
    for line in lines(end):
        assert (np.diff(line) <= 0).all() and len(line) == 5
    np.testing.assert_allclose(lines(through)[2], share["0"].mean(axis=0))
    np.testing.assert_allclose(end.lines[0].get_ydata()[0], neurons["0"][0].max())
