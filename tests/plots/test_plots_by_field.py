"""Figures of runs by the fields that vary: what is drawn where."""

import numpy as np
import pytest

from toylab.plots import by_field, labels, style
from toylab.plots.by_field import Curve, Outcome

STEPS = np.array([0, 10, 20, 40, 80])
DECAYS = np.repeat([0.1, 0.3, 1.0, 3.0], 5)
RNG = np.random.default_rng(0)
LOSS = np.exp(-STEPS / 20 * DECAYS[:, None]) * RNG.uniform(0.9, 1.1, (20, 1))


@pytest.mark.parametrize(
    ("values", "scale", "numbers", "places"),
    [
        ([0.1, 1.0, 10.0], "log", None, [0.1, 1, 10]),
        ([1, 2, 3], "linear", None, [1, 2, 3]),
        ([0, 1], "linear", None, [0, 1]),
        ([0.0, 0.1, 3.0], "even", ["0", "0.1", "3"], [0, 1, 2]),  # neither even nor above 0
        ([5, 7, 11], "even", ["5", "7", "11"], [0, 1, 2]),
        (["SGD", "AdamW"], "even", ["AdamW", "SGD"], [1, 0]),
        ([True, False], "even", ["False", "True"], [1, 0]),
    ],
)
def test_an_axis_is_that_of_the_values(values, scale, numbers, places):
    axis, at = by_field.axis_of("field", np.array(values))
    assert (axis.label, axis.scale, axis.numbers) == ("field", scale, numbers)
    np.testing.assert_allclose(at, places)


def test_curves_have_a_median_for_each_value_and_a_mark_for_each_run():
    steps = np.where(np.arange(20) % 5 == 4, np.nan, 10.0)
    outcome = Outcome("step", steps, "not by step 80", log=True)
    figure = by_field.curves(STEPS, "weight decay", DECAYS, Curve("loss", LOSS, log=True), outcome)
    left, right = figure.axes
    medians = [np.median(LOSS[one == DECAYS], axis=0) for one in np.unique(DECAYS)]
    for line, median in zip(left.get_lines(), medians, strict=True):  # of more than four runs the quartiles are a band
        np.testing.assert_allclose(line.get_ydata(), median)
    assert (
        len(left.collections) == 4
        and left.get_yscale() == "log"
        and left.get_legend().get_title().get_text() == "weight decay"
    )
    marks = [line for line in right.get_lines() if line.get_marker() == "o"]
    never = [line for line in right.get_lines() if line.get_marker() == "^" and len(line.get_xdata())]
    assert (len(marks), len(never)) == (16, 4) and right.get_xscale() == "log"
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["median", "not by step 80"]


def test_a_median_is_not_drawn_where_half_of_the_runs_have_no_value():
    steps = np.array([10.0, np.nan, np.nan, 20, 30, np.nan])
    figure = by_field.curves(STEPS[:2], "p", np.repeat([5, 7], 3), Curve("x", np.ones((6, 2))), Outcome("step", steps))
    (line,) = [line for line in figure.axes[1].get_lines() if line.get_label() == "median"]
    np.testing.assert_array_equal(line.get_ydata(), [np.nan, 30])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([500, 1000, 2000], ["500", "1,000", "2,000"]),
        ([3830, 3834], ["3,830", "3,834"]),
        ([0.1, 0.5142857, 3.0], ["0.1", "0.514", "3"]),
        ([1e-8, 0.12341, 0.12342, 2e7], ["1e-08", "0.12341", "0.12342", "2e+07"]),
    ],
)
def test_values_are_told_apart_by_what_is_written_at_them(values, texts):
    assert labels.numbers(values) == texts
    drawn = by_field.curves(STEPS[:1], "f", np.array(values), Curve("x", np.ones((len(values), 1))))
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == texts


def test_the_median_of_an_even_number_of_runs_lies_between_those_in_the_middle():
    last = np.array([0.0, 0.06, 0.1, 0.2, 0.3, 0.8])
    for values, style_of in (([5, 5, 7, 7, 7, 7], "-"), (["SGD"] * 2 + ["Adam"] * 4, "None")):  # words are no axis
        figure = by_field.curves(STEPS[:2], "f", np.array(values), Curve("x", np.ones((6, 2))), Outcome("last", last))
        (line,) = [line for line in figure.axes[1].get_lines() if line.get_label() == "median"]
        np.testing.assert_allclose(np.sort(line.get_ydata()), [0.03, 0.25])
        assert line.get_linestyle() == style_of
        assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["median"]


def test_few_runs_are_drawn_each_and_many_values_have_a_colour_bar():
    few = by_field.curves(STEPS, "wd", DECAYS[::5], Curve("loss", LOSS[::5]))
    assert len(few.axes) == 1 and not few.axes[0].collections and len(few.axes[0].get_lines()) == 4
    many = by_field.curves(STEPS, "seed", np.arange(20.0), Curve("loss", LOSS))
    assert many.axes[0].get_legend() is None and many.axes[1].get_ylabel() == "seed"


def test_runs_that_ended_early_have_shorter_curves():
    values = np.where(np.arange(5) < 3, LOSS[:1], np.nan)
    (ax,) = by_field.curves(STEPS, "wd", np.array([1.0]), Curve("loss", values)).axes
    assert ax.get_lines()[0].get_xdata().tolist() == [0, 10, 20]


def test_a_third_field_divides_panels_which_share_their_colours():
    x, y, z = (each.ravel() for each in np.meshgrid([1, 2], [3, 4], ["a", "b"]))
    values = np.arange(8.0)
    figure = by_field.diagram({"x": x, "y": y, "z": z}, [Outcome("step", values)])
    meshes = [ax.collections[0] for ax in figure.axes if ax.get_xlabel() == "x"]
    assert [ax.get_title() for ax in figure.axes if ax.get_xlabel() == "x"] == ["z = a", "z = b"]
    assert [mesh.norm.vmin for mesh in meshes] == [0, 0] and [mesh.norm.vmax for mesh in meshes] == [7, 7]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": np.arange(3)}, r"fields has 1 entries; a phase diagram has two, or three of which one divides panels"),
        ({"x": np.arange(9), "y": np.arange(9), "z": np.arange(9)}, r"z has 9 values; at most 6 panels are drawn"),
    ],
)
def test_what_cannot_be_drawn_is_refused(fields, message):
    with pytest.raises(ValueError, match=rf"^{message}$"):
        by_field.diagram(fields, [Outcome("step", np.zeros(len(fields["x"])))])


def test_the_same_is_drawn_alike(tmp_path):
    made = [by_field.curves(STEPS, "wd", DECAYS, Curve("loss", LOSS), Outcome("last", LOSS[:, -1])) for _ in range(2)]
    one, two = (style.save(figure, tmp_path / f"{i}.png").read_bytes() for i, figure in enumerate(made))
    assert one == two


def test_an_outcome_of_the_end_has_a_mark_for_each_run_and_the_median():
    (ax,) = by_field.at_the_end("weight decay", DECAYS, Outcome("loss", LOSS[:, -1])).axes
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    (median,) = (line for line in ax.lines if line.get_label() == "median")
    assert len(marks) == len(DECAYS) and len(median.get_xdata()) == len(set(DECAYS))
    assert ax.get_xlabel() == "weight decay" and ax.get_ylabel() == "loss"
