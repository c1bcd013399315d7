"""Losses with limits, aligned scores: text inside and apart, limits at their height, names at the ends of lines."""

from functools import cache

import numpy as np
import pytest
from matplotlib.colors import to_hex
from printed import assert_printable, pixels, written

from toylab.plots import style
from toylab.plots.attention import stages

STEPS = np.array([0.0, 10, 30, 100, 300, 1000, 3000])
LIMITS = {"uniform": 1.0986, "unigram": 1.012, "bigram": 0.9056}


def curves(*names, runs=3, low=0.92):
    random = np.random.default_rng(0)
    fall = np.geomspace(1.4, low, len(STEPS))
    return {name: fall + 0.01 * i + random.normal(0, 0.01, (runs, len(STEPS))) for i, name in enumerate(names)}


def panels():
    scores = curves(*(f"induction L1H{head}" for head in range(4)), low=0.1)
    ended = curves("second half", "first half")
    ended["first half"][:, 4:] = np.nan
    return [
        stages.Panel("loss (nats)", ended, LIMITS),
        stages.Panel("score", scores, ylim=(0, 2)),
        stages.Panel("KL (nats)", curves("unigram‖model", "bigram‖model", low=1e-3), log=True),
    ]


def by_position(**options):
    position = np.arange(1, 33)
    limits = {"unigram": 1 + 0.1 / position, "bigram": 0.8 + 0.3 / position}
    loss = np.tile(limits["unigram"], (3, len(STEPS), 1)) + np.arange(3)[:, None, None] / 50
    return stages.losses_by_position(STEPS, loss, limits, **options)


SPANS = {"unigrams": (10, 100), "induction": (100, 1000), "cleanup": (1000, 1000)}
DRAWINGS = {
    "stages": lambda: stages.stages(STEPS, panels(), spans=SPANS, xscale="log"),
    "stages without spans": lambda: stages.stages(STEPS, panels()[:1]),
    "stages over another axis": lambda: stages.stages(STEPS, panels()[:2], xlabel="λt"),
    "beside": lambda: stages.beside([("λt", STEPS, panels()[0]), ("λt − ln α", STEPS - 5, panels()[1])]),
    "beside, in two rows": lambda: stages.beside([("λt", STEPS, panel) for panel in panels()]),
    "losses with limits": lambda: stages.losses_with_limits(STEPS, curves("abs", "rotary"), LIMITS),
    "losses on a log axis": lambda: stages.losses_with_limits(STEPS, curves("loss", runs=1), LIMITS, log=True),
    "losses of nothing": lambda: stages.losses_with_limits(STEPS, {"loss": np.full((2, 7), np.nan)}, LIMITS),
    "by position": by_position,
    "by position at two": lambda: by_position(at=(0, 3000)),
    "by position, on a log axis": lambda: by_position(positions=np.geomspace(1, 100, 32)),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


def test_the_axis_of_positions_is_that_of_the_limits():
    """A network that has learned nothing yet is cut off, and it is said so."""
    loss = np.concatenate([np.full((1, 1, 4), 9.0), np.full((1, len(STEPS) - 1, 4), 1.0)], axis=1)
    figure = stages.losses_by_position(STEPS, loss, {"limit": np.array([1.1, 1.0, 0.9, 0.8])})
    assert all(ax.get_ylim()[1] < 2 for ax in figure.axes)
    assert "cut off" in "".join(text.get_text() for text in figure.texts)
    loss[:, 0] = 1.0
    figure = stages.losses_by_position(STEPS, loss, {"limit": np.array([1.1, 1.0, 0.9, 0.8])})
    assert "cut off" not in "".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


@pytest.mark.slow
def test_a_redraw_gives_the_same_picture():
    found = [pixels(DRAWINGS["stages"]()) for _ in range(2)]
    assert len(set(found)) == 1


def test_limits_lie_at_their_values_and_are_named():
    figure = drawn("losses with limits")
    level = [line.get_ydata()[0] for line in figure.axes[0].get_lines() if to_hex(line.get_color()) == stages.LIMIT]
    assert level == list(LIMITS.values())
    assert set(LIMITS) <= {text.get_text() for text in written(figure)}


def test_the_strong_line_is_the_median_and_every_seed_is_drawn():
    given = curves("loss")
    ax = stages.losses_with_limits(STEPS, given, {}).axes[0]
    lines = np.array([line.get_ydata() for line in ax.get_lines()])
    np.testing.assert_array_equal(lines, [*given["loss"], np.median(given["loss"], axis=0)])
    assert np.argmax([line.get_linewidth() for line in ax.get_lines()]) == 3


def test_the_median_leaves_out_runs_without_a_value():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    np.testing.assert_array_equal(stages.median(values), [2, 2, np.nan])


def test_panels_share_the_step_axis_and_its_bands_and_one_name_has_one_look():
    twice = stages.Panel("a", curves("x", "y")), stages.Panel("b", curves("y"))
    figure = stages.stages(STEPS, twice, spans=SPANS)
    above, below = figure.axes
    assert above.get_xlim() == below.get_xlim() == (0, 3000)
    assert [(p.get_x(), p.get_x() + p.get_width()) for p in below.patches] == [(10, 100), (100, 1000)]
    assert above.get_lines()[-2].get_color() == below.get_lines()[-2].get_color() == style.SERIES[1]
    assert not above.get_xlabel() and below.get_xlabel() == "optimiser step"


def test_panels_beside_each_other_have_axes_of_their_own():
    places = STEPS / 100, STEPS / 100 - 3
    panels = [(name, x, stages.Panel("a", curves("x"))) for name, x in zip(("λt", "shifted"), places, strict=True)]
    figure = stages.beside(panels)
    assert [ax.get_xlabel() for ax in figure.axes] == ["λt", "shifted"]
    assert [ax.get_xlim() for ax in figure.axes] == [(0, 30), (-3, 27)]
    assert len({ax.get_lines()[-1].get_color() for ax in figure.axes}) == 1
    one = stages.Panel("a", curves("x", "y", "z", runs=1), {"least": 0.5})
    (ax,) = stages.beside([("λt", STEPS, one)]).axes
    x, y, z, least = (line.get_linewidth() for line in ax.get_lines())
    assert x > y > z > least
    above, below = stages.stages(STEPS, [stages.Panel("a", curves("x"))] * 2, xlabel="λt").axes
    assert not above.get_xlabel() and below.get_xlabel() == "λt"


BAD = {
    r"x has shape \(1, 7\); with 3 steps": lambda: stages.beside(
        [("λt", STEPS[:3], stages.Panel("a", {"x": np.ones((1, 7))}))]
    ),
    "steps must be finite increasing": lambda: stages.stages(STEPS[::-1], panels()),
    "panels is empty": lambda: stages.stages(STEPS, []),
    r"x has shape \(7,\); with 7 steps it is \[R, 7\]": lambda: stages.losses_with_limits(STEPS, {"x": STEPS}, {}),
    r"loss has shape \(3, 2, 4\)": lambda: stages.losses_by_position(STEPS, np.ones((3, 2, 4)), {}),
    r"bigram has shape \(3,\)": lambda: stages.losses_by_position(STEPS, np.ones((1, 7, 4)), {"bigram": np.ones(3)}),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
