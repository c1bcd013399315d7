"""Phase diagrams over any two columns, and delays: each run in its cell, seeds that disagree marked, nothing invented."""

from functools import cache
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from colours import lab
from matplotlib.collections import PolyQuadMesh, QuadMesh
from matplotlib.colors import to_rgb
from printed import assert_printable, pixels, written

from toylab.plots import phase
from toylab.plots.cells import commonest, median
from toylab.plots.modular import delays

PHASES = ("comprehension", "grokking", "memorisation", "confusion")
DRAW = np.random.default_rng(0)
X, Y = np.array([0.1, 0.2, 0.3, 0.5, 0.9]), np.array([0.03, 0.1, 1.0, 10.0])
GRID = [(x, y, seed) for x in X for y in Y for seed in range(3) if (x, y) != (0.5, 1.0)]  # one cell without a run
ORDER = DRAW.permutation(len(GRID))
COLUMNS = np.array(GRID)[ORDER]
STEPS = np.where(COLUMNS[:, 0] < 0.25, np.nan, 100 / COLUMNS[:, 1] / COLUMNS[:, 0])
STEPS = np.where((COLUMNS[:, 0] == 0.3) & (COLUMNS[:, 2] == 0), np.nan, STEPS)  # seed 0 never
KINDS = np.where(COLUMNS[:, 1] == 10, 3, np.where(np.isnan(STEPS), 2, (STEPS > 500).astype(int)))
MEASURES = {
    "config/fraction": COLUMNS[:, 0],
    "config/decay": COLUMNS[:, 1],
    "final/steps": STEPS,
    "valid": np.arange(4) < 3 - (np.arange(len(GRID)) % 2)[:, None],
    "accuracy": np.arange(4) + 10.0 * np.arange(len(GRID))[:, None],
}
SHARE, DECAY = phase.Axis("share of pairs", "linear"), phase.Axis("weight decay", "log")


def cells(value="final/steps"):
    return phase.of_columns(MEASURES, "config/fraction", "config/decay", value)


def numbers(log=True, **options):
    return phase.Panel(cells(), SHARE, DECAY, "steps to 90 %", log=log, none="never", **options)


def kinds(x=SHARE, y=DECAY):
    return phase.Panel(cells(KINDS), x, y, categories=PHASES, title="phases")


def even(n):
    x = np.repeat(np.geomspace(1e-4, 1, n), 2)
    own = phase.of_columns({}, x, np.tile([0.0, 3.0], n), np.arange(2.0 * n))
    return phase.Panel(own, phase.Axis("rate", "even"), phase.Axis("decay", "even", ["none", "much"]), "loss (nats)")


ONE = phase.Panel(phase.of_columns({}, np.ones(1), np.ones(1), np.ones(1)), SHARE, SHARE, "loss (nats)")
LOST = phase.Panel(phase.of_columns({}, X, X, np.full(5, np.nan)), SHARE, SHARE, "loss (nats)")
SWEPT = np.where(DRAW.random((3, 5)) < 0.3, np.nan, 100 / X * np.ones((3, 1)))
DELAYS = {"train": np.full((3, 5), 20.0), "test": SWEPT}
OVER = delays.Delays(
    100 * X,
    DELAYS,
    "share (%)",
    2000,
    {"a law with a name that is about this long": (100 * X, 90 / X)},
    {"elsewhere": (X, 50 / X)},
)
LEVELS = delays.Delays(Y, {f"{x:.0%}": np.full((3, 4), x * 99) for x in X}, "decay", 2000, log=True, ordered=True)
DRAWINGS = {
    "both": lambda: phase.diagram(kinds(), numbers()),
    "one": lambda: phase.diagram(kinds()),
    "numbers": lambda: phase.diagram(numbers()),
    "linear": lambda: phase.diagram(numbers(log=False, title="linear")),
    "even": lambda: phase.diagram(even(4)),
    "many values": lambda: phase.diagram(even(40), kinds(), even(12)),
    "one cell": lambda: phase.diagram(ONE),
    "no values": lambda: phase.diagram(LOST),
    "delays": lambda: delays.delays(OVER, LEVELS),
    "one delay": lambda: delays.delays(OVER),
    "never": lambda: delays.delays(OVER._replace(steps={"test": np.full((3, 5), np.nan)}, title="never")),
    "examples": lambda: delays.examples(
        np.arange(100), {f"{name}\n40 % of pairs": (np.linspace(0, 1, 100),) * 2 for name in PHASES}, 0.9
    ),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


def test_every_run_is_in_the_cell_of_its_columns():
    own = cells()
    np.testing.assert_array_equal(own.x, X)
    np.testing.assert_array_equal(own.y, Y)
    for i, j in np.ndindex(4, 5):
        here = STEPS[(COLUMNS[:, 0] == X[j]) & (COLUMNS[:, 1] == Y[i])]
        np.testing.assert_array_equal(own.values[i, j, own.held[i, j]], here)
    assert own.held.sum() == len(GRID) and not own.held[2, 3].any() and np.isnan(own.values[2, 3]).all()


def test_a_measure_over_training_is_taken_at_the_last_saved_point_of_each_run():
    own = cells("accuracy")
    last = np.arange(len(GRID)) * 10.0 + 2 - np.arange(len(GRID)) % 2
    np.testing.assert_array_equal(np.sort(own.values[own.held]), last)


def test_a_run_without_a_value_counts_as_beyond_all_others():
    own = phase.of_columns(
        {}, np.repeat([1, 2, 3, 4], 3), np.ones(12), [5, 3, np.nan, 1, np.nan, np.nan, 2, 4, 9, *[np.nan] * 3]
    )
    np.testing.assert_array_equal(median(own), [[5, np.nan, 4, np.nan]])


def test_the_commonest_category_is_that_of_most_runs():
    own = phase.of_columns({}, np.repeat([1, 2, 3], 3), np.ones(9), [0, 2, 2, 1, 1, np.nan, 2, 0, 1])
    np.testing.assert_array_equal(commonest(own, 3), [[2, 1, 0]])


def test_cells_have_the_colour_of_their_value_at_their_place():
    a, b, _ = drawn("both").axes
    (mesh,) = (m for m in a.findobj(QuadMesh))
    shown = mesh.get_facecolor().reshape(4, 5, 4)[..., :3]
    kind = commonest(cells(KINDS), 4)
    for i, j in np.argwhere(np.isfinite(kind)):
        np.testing.assert_allclose(shown[i, j], to_rgb(phase.AREAS[int(kind[i, j])]))
    np.testing.assert_array_equal(b.findobj(QuadMesh)[0].get_array().filled(np.nan), median(cells()))
    edges = b.findobj(QuadMesh)[0].get_coordinates()
    np.testing.assert_allclose(edges[0, :, 0], [0.05, 0.15, 0.25, 0.4, 0.7, 1.1])
    np.testing.assert_allclose(edges[1:4, 0, 1], np.sqrt(Y[1:] * Y[:-1]))
    assert len(b.findobj(PolyQuadMesh)) == 1  # the cell without a run, hatched


def test_seeds_that_disagree_are_marked_where_they_do_and_nowhere_else():
    a, b, _ = drawn("both").axes
    differ = {(0.3, 0.03), (0.3, 0.1), (0.3, 1.0)}  # seed 0 never generalises there
    for ax, color in ((a, phase.AREAS[2]), (b, "black")):
        dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
        assert {(line.get_xdata()[0], line.get_ydata()[0]) for line in dots} >= differ
        assert all(line.get_xdata()[0] == 0.3 for line in dots)
        assert {line.get_markerfacecolor() for line in dots} == {color}


def test_ticks_stand_at_the_values_and_their_numbers_where_there_is_room():
    ax = drawn("both").axes[1]
    np.testing.assert_array_equal(ax.get_yticks(), Y)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.1", "0.2", "0.3", "0.5", "0.9"]
    ax = drawn("even").axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "much"]
    np.testing.assert_array_equal(ax.get_xticks(), np.arange(4))


def test_the_legend_names_what_is_drawn_and_nothing_else():
    texts = {text.get_text() for text in written(drawn("both"))}
    assert {*PHASES, "never", "no run", "dot: phase of another seed", "dot: seeds far apart"} <= texts
    assert not {"never", "no run", "no value"} & {text.get_text() for text in written(drawn("even"))}


def test_colours_of_areas_stay_apart_for_the_colour_blind():
    deuteranopia = np.reshape(  # Machado et al. 2009, severity 1
        [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881], (3, 3)
    )
    for vision in (None, deuteranopia):
        seen = [lab(color, vision) for color in phase.AREAS]
        assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 20
    lightness = sorted(lab(color)[0] for color in phase.AREAS[:4])
    assert min(np.diff(lightness)) > 12


def test_delays_show_every_seed_and_those_that_never_got_there():
    ax = drawn("one delay").axes[0]
    dots = np.concatenate([line.get_ydata() for line in ax.get_lines() if line.get_marker() == "o"])
    never = np.concatenate([line.get_ydata() for line in ax.get_lines() if line.get_marker() == "^"])
    assert np.isfinite(dots).sum() == 15 + np.isfinite(SWEPT).sum()
    assert np.isfinite(never).sum() == np.isnan(SWEPT).sum() and (never[np.isfinite(never)] > OVER.budget).all()
    np.testing.assert_array_equal(
        delays.middle(np.array([[1, 1, np.nan], [2, np.nan, np.nan], [3, np.nan, 5]])), [2, np.nan, np.nan]
    )


@pytest.mark.slow
def test_a_redraw_gives_the_same_picture():
    first = pixels(drawn("both"))
    with mpl.rc_context({"font.size": 20, "axes.grid": True}):
        assert first == pixels(DRAWINGS["both"]())


BAD = {
    "x is 'config/lr', which is neither a measure": lambda: phase.of_columns(MEASURES, "config/lr", STEPS, STEPS),
    "x, y and value are of 1, 2 and 2 runs": lambda: phase.of_columns({}, np.ones(1), np.ones(2), np.ones(2)),
    r"value has shape \(2, 2\) of float64": lambda: phase.of_columns({}, np.ones(2), np.ones(2), np.ones((2, 2))),
    "scale of x is 'cubic'; it is": lambda: phase.diagram(kinds(x=phase.Axis("x", "cubic"))),
    "y has the value 0; a log axis": lambda: phase.diagram(even(3)._replace(y=DECAY)),
    "numbers of x has 1 entries; it has 5": lambda: phase.diagram(kinds(x=phase.Axis("x", "even", ["1"]))),
    "has 0; log colours are of positive": lambda: phase.diagram(even(3)._replace(log=True)),
    "panels has 0 entries": lambda: phase.diagram(),
    "value has 3; with 3 categories it is 0 to 2": lambda: phase.diagram(kinds()._replace(categories=PHASES[:3])),
    "categories has 7 entries": lambda: phase.diagram(kinds()._replace(categories=tuple("abcdefg"))),
    "panels has 3 entries": lambda: delays.delays(OVER, OVER, OVER),
    "runs has 0 entries": lambda: delays.examples(np.arange(3), {}, 0.9),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
