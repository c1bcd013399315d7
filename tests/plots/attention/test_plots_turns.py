"""The plane of a run's principal components: what is drawn, and what is refused."""

import numpy as np
import pytest
from printed import assert_printable, written

from toylab.plots.attention import turns

STEPS = np.array([0, 100, 200, 400])
PATH = np.array([[[3.0, 0.0], [2.0, 1.0], [0.0, 2.0], [-1.0, -1.0]]] * 3)
SHARE, CHANGE = np.array([[0.8, 0.1]] * 3), np.array([[1, 2], [0, 3], [3, -1]])


def test_a_panel_a_run_with_the_steps_that_matter():
    figure = turns.paths(PATH, STEPS, SHARE, CHANGE)
    assert_printable(figure)
    axes = figure.axes
    assert len(axes) == 3 and "component 1 (80%)" in axes[0].get_xlabel()
    assert [{text.get_text() for text in ax.texts} for ax in axes[:2]] == [{"0", "100", "200", "400"}, {"0", "400"}]
    assert len(axes[2].lines) == 1  # this run has no change to mark
    assert any("steps" in text.get_text() for text in written(figure))


def test_runs_have_names_and_numbers_that_would_touch_are_left_out():
    close = PATH.copy()
    close[0, 1] = close[0, 0] + 0.01
    figure = turns.paths(close, STEPS, SHARE, CHANGE, ["seed 7", "seed 8", "seed 9"])
    assert [ax.get_title() for ax in figure.axes] == ["seed 7", "seed 8", "seed 9"]
    assert {text.get_text() for text in figure.axes[0].texts} == {"0", "200", "400"}


@pytest.mark.parametrize(
    ("name", "given"), [("path", (PATH[:, :3], SHARE, CHANGE)), ("share", (PATH, SHARE[:2], CHANGE))]
)
def test_shapes_that_disagree_are_refused(name, given):
    path, share, change = given
    with pytest.raises(ValueError, match=f"{name} has shape"):
        turns.paths(path, STEPS, share, change)
