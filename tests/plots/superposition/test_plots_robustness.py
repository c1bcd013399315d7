"""The figures of attacks: sizes, refusals, and what is drawn where."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from printed import assert_printable

from toylab.plots.superposition import robustness

OVER = np.array([1.0, 2.0, 5.0, 20.0])
FEATURES = np.array([[1.0, 1.9, 3.0, 6.5], [1.0, 2.1, 3.2, 6.0]])


def test_vulnerability_is_drawn_for_every_run_and_the_median():
    figure = robustness.vulnerability(OVER, FEATURES, FEATURES * 0.9, 1 / FEATURES)
    assert isinstance(figure, Figure)
    over, scatter, dense = figure.axes
    assert len(over.lines) == 2 * 3 and len(dense.lines) == 3
    np.testing.assert_allclose(over.lines[2].get_ydata(), np.median(FEATURES, axis=0))
    np.testing.assert_allclose(dense.lines[2].get_ydata(), np.median(1 / FEATURES, axis=0))
    one_for_one, *runs = scatter.lines
    np.testing.assert_array_equal(one_for_one.get_xdata(), one_for_one.get_ydata())
    assert len(runs) == 2 and scatter.get_xlim() == scatter.get_ylim()
    np.testing.assert_allclose(runs[1].get_xydata(), np.stack([FEATURES[1], 0.9 * FEATURES[1]], axis=1))


@pytest.mark.parametrize("bad", [FEATURES[:, :3], FEATURES[0], FEATURES[:1]])
def test_shapes_that_do_not_agree_are_refused(bad):
    with pytest.raises(ValueError, match=r"^relative has shape"):
        robustness.vulnerability(OVER, FEATURES, bad, FEATURES)


def test_without_a_dense_model_there_are_two_panels():
    figure = robustness.vulnerability(OVER, FEATURES, FEATURES * 0.9)
    assert [ax.get_ylabel() for ax in figure.axes] == ["ratio to no superposition", "vulnerability"]
    assert_printable(figure)
