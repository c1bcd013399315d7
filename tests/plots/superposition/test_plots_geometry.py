"""Figures of superposition: text inside and apart, extremes survive, what is drawn is what was given, GIFs repeat."""

from functools import cache
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from colours import lab
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageSequence
from printed import assert_printable, pixels, written

from toylab.plots import arrows, motion, style
from toylab.plots.superposition import dimensionality, extra_feature, geometry, theory

DRAW = np.random.default_rng(0)
T = 50
STEPS = np.concatenate([[0], np.unique(np.geomspace(1, 10_000, 90).astype(int))[1 - T :]])
LOSS = 0.1 / (1 + STEPS / 500)
OVER = 20 ** np.linspace(0, 1, 20)  # 1/(1−S)


def polygon(k, scale=1.0):
    angle = 2 * np.pi * np.arange(k) / k
    return scale * np.stack([np.cos(angle), np.sin(angle)], axis=1)


OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)])
GROWING = np.linspace(0.1, 1, T)[:, None, None]  # [T, 1, 1]


def titles(runs):
    return [f"S = {run / max(runs, 1):.2f}" for run in range(runs)]


def arrangement(runs=10, n=5, m=2, **options):
    return geometry.arrangement(0.5 * DRAW.standard_normal((runs, n, m)), titles(runs), **options)


def grams(runs=7, n=20, lost=()):
    W = DRAW.standard_normal((runs, n, 5)) / 2
    W[list(lost)] = np.nan
    gram, b = W @ W.swapaxes(1, 2), 0.1 * W[..., 0]
    return geometry.gram_and_norms(gram, b, np.linalg.norm(W, axis=2), abs(W[..., 1]), titles(runs))


def levels_of(over=OVER, n=50, lost=(), **options):
    D = DRAW.choice([0, 0.4, 0.5, 2 / 3], (len(over), n)).astype(float)
    dstar = np.linspace(1, 0.15, len(over))
    D[list(lost)], dstar[list(lost)] = np.nan, np.nan
    return dimensionality.dimensionality(over, D, D + 0.1, dstar, **options)


def trajectories(n=30, **options):
    D = 0.5 / (1 + np.exp(-(np.arange(T)[:, None] - np.linspace(5, 80, n)) / 2))  # [T, n]
    return dimensionality.trajectories(STEPS, D, LOSS, **options)


KGONS = {"4": 0.111111, "4⁺": 0.104167, "4⁺⁺": 0.097222, "5": 0.068744, "5⁺": 0.061799, "6": 0.048192}


def levels(runs=20, lost=(), **options):
    loss = 0.3 / (1 + STEPS / np.geomspace(100, 1000, runs)[:, None]) + 0.048
    loss[list(lost)] = np.nan
    return theory.levels(STEPS, loss, {f"{name}-gon": level for name, level in KGONS.items()}, **options)


LLC = theory.Estimate(np.array([10, 1000, 10_000]), np.array([1.5, 4, 6]), np.array([0.2, 0.3, np.nan]))


def agreement(runs=16, lost=False, **options):
    x = 2.0 ** np.arange(6, 11)
    measured = 64**2 / (4 * x) * DRAW.uniform(0.8, 1.2, (runs, 5))
    if lost:
        measured[:, 2:] = np.nan
    series = {
        "n = 64": theory.Series(x, measured, 64**2 / (4 * x)),
        "n = 90": theory.Series(x, 2 * measured, joined=True),
    }
    return theory.agreement(series, "hidden dimensions $m$", "polysemantic neurons", **options)


def classes(cells):
    """n=2, m=1 by theory: the class of least loss (catalogue of the paper's exact losses)."""
    importance, p = np.geomspace(0.1, 10, cells), np.geomspace(0.01, 1, cells)
    V = p / 3 - p**2 / 4
    ignored, shared = np.outer(importance, V), np.outer(1 + importance, p**2 / 6)
    return importance, p, np.stack([ignored, shared, np.tile(V, (cells, 1))], axis=2).argmin(axis=2)


BELOW = np.geomspace(0.1, 1, 30)
BOUNDARY = [(BELOW, 4 * BELOW / (2 + 5 * BELOW))]


def diagram(title="trained", cells=9, lost=False, boundaries=BOUNDARY):
    importance, p, found = classes(cells)
    shares = np.eye(3)[found]
    if lost:
        shares[1, 2:5] = np.nan
    return extra_feature.Diagram(title, importance, p, shares, boundaries)


def strip(m=2, n=5, **options):
    shape = polygon(n) if m == 2 else OCTAHEDRON[:n]
    return motion.strip(GROWING * shape, STEPS, LOSS, **options)


def animation(m=2, frames=4, **options):
    return motion.animation(GROWING * (polygon(5) if m == 2 else OCTAHEDRON), STEPS, LOSS, frames=frames, **options)


ONE_CELL = extra_feature.Diagram("one cell", np.ones(1), np.full(1, 0.1), np.full((1, 1, 3), 1 / 3))
DRAWINGS = {
    "arrangement": lambda: arrangement(importance=0.9 ** np.arange(5)),
    "arrangement of one run": lambda: arrangement(1),
    "arrangement of many": lambda: arrangement(20, 200, importance=0.01 ** np.linspace(0, 1, 200)),
    "arrangement in space": lambda: arrangement(3, 6, 3, groups=np.array([0, 0, 0, 1, 1, 1])),
    "arrangement with long titles": lambda: geometry.arrangement(
        np.stack([polygon(4), np.full((4, 2), np.nan)]), ["correlated within sets\nseed 3", "diverged"]
    ),
    "gram": grams,
    "gram of one run": lambda: grams(1),
    "gram of two features": lambda: grams(2, 2),
    "gram of many": lambda: grams(20, 40),
    "gram of many features": lambda: grams(1, 200),
    "gram of nothing": lambda: grams(3, lost=(0, 1, 2)),
    "dimensionality": levels_of,
    "dimensionality of seeds": lambda: levels_of(np.repeat(OVER, 3), 200, lost=(5,)),
    "dimensionality of one run": lambda: levels_of(np.ones(1), 2),
    "dimensionality far": lambda: levels_of(1000 ** np.linspace(0, 1, 100), 20),
    "dimensionality of nothing": lambda: levels_of(lost=range(20)),
    "trajectories": lambda: trajectories(norms=np.full((T, 30), 0.5), shown=[3, 7], jumps=[500.0], xscale="log"),
    "trajectories of two": lambda: trajectories(2),
    "trajectories of many": lambda: trajectories(200),
    "strip": strip,
    "strip in space": lambda: strip(3, 6, groups=np.arange(6) // 3, at=[0, 5, 20, 100, 300, 1000, 3000, 10000]),
    "strip of one": lambda: motion.strip(polygon(2)[None], np.zeros(1)),
    "animation": lambda: animation().figure,
    "animation in space": lambda: animation(3).figure,
    "levels": levels,
    "levels of one run": lambda: levels(1, title="c = 6"),
    "levels with llc": lambda: levels(3, llc=LLC),
    "levels of many": lambda: levels(30, most=5),
    "levels of nothing": lambda: levels(3, lost=(0, 1, 2)),
    "agreement": lambda: agreement(log=(True, True)),
    "agreement of one run": lambda: agreement(1, title="one seed"),
    "agreement in part": lambda: agreement(lost=True),
    "phase": lambda: extra_feature.phase_diagrams([diagram(lost=True), diagram("theory", 60)]),
    "one phase diagram": lambda: extra_feature.phase_diagrams([diagram(boundaries=())]),
    "four phase diagrams": lambda: extra_feature.phase_diagrams([diagram()] * 4),
    "one cell": lambda: extra_feature.phase_diagrams([ONE_CELL]),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


def texts(name):
    return {text.get_text() for text in written(drawn(name))}


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


WORDS = {
    "arrangement": "S = 0.00|S = 0.90|importance|dotted: radius 1",
    "arrangement with long titles": "correlated within sets\nseed 3|no data",
    "gram": "$b$|feature $i$|‖$W_i$‖|polysemanticity|$W W^T$ and $b$|20",
    "dimensionality": "1 dedicated|3/4 tetrahedron|2/3 triangle|1/2 digon|2/5 pentagon|3/8 square antiprism|"
    "0 not learned|1 / (1 − $S$)|dimensionality $D_i$|20|pale: features of a norm below 0.3",
    "trajectories": "optimiser step|loss|1/2 digon|10k",
    "strip": "step 0|step 10,000|loss|optimiser step",
    "levels": "4⁺⁺-gon|5-gon|6-gon|loss|strong: run 0; pale: the other runs; dashed: exact levels",
    "levels with llc": "a|b|local learning coefficient|strong: run 0; pale: the other runs; dashed: exact levels; "
    "bars: standard error",
    "agreement": "n = 64|n = 90|points: medians of 16 runs, bars: lowest to highest; lines: theory|100",
    "phase": "trained|theory|not represented|in superposition|dedicated dimension|no data|density $p$ = 1 − $S$|0.01",
}


@pytest.mark.parametrize("name", WORDS)
def test_what_is_written(name):
    assert set(WORDS[name].split("|")) <= texts(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arrangement in space", "gram", "dimensionality", "strip", "agreement", "phase"])
def test_a_redraw_gives_the_same_picture(name):
    global DRAW
    found = []
    for settings in ({}, {"font.size": 20, "axes.grid": True, "image.cmap": "gray"}):
        DRAW = np.random.default_rng(0)
        with mpl.rc_context(settings):
            figure = DRAWINGS[name]()
            found += [pixels(figure) for _ in range(2)]
    assert len(set(found)) == 1


def test_arrows_point_to_the_features_and_those_in_space_keep_their_length():
    figure = geometry.arrangement(polygon(5)[None], ["pentagon"])
    (tips,) = figure.axes[0].findobj(PathCollection)
    assert sorted(map(tuple, tips.get_offsets().round(9))) == sorted(map(tuple, polygon(5).round(9)))
    W = DRAW.standard_normal((20, 3))
    for turn in (0, 1.0):
        np.testing.assert_allclose(arrows.seen(W, turn) @ arrows.seen(W, turn).T, W @ W.T, atol=1e-12)
    up = arrows.seen(np.array([[0, 0, 1.0], [0, -1, 0]]), 0)
    assert up[0, 1] > 0.9 and up[1, 2] > 0.9  # the third dimension points up, the second away from the eye
    assert np.linalg.det(arrows.seen(np.eye(3))) == pytest.approx(1)  # seen, not mirrored


def test_groups_may_differ_from_run_to_run():
    sets = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    figure = geometry.arrangement(np.stack([polygon(4)] * 2), ["a", "b"], groups=sets)
    for ax, own in zip(figure.axes, sets, strict=True):
        (tips,) = ax.findobj(PathCollection)
        np.testing.assert_allclose(tips.get_facecolor()[:, :3], arrows.colors(4, own))


def test_what_lies_behind_is_paler_smaller_and_drawn_first():
    figure = geometry.arrangement(OCTAHEDRON[None], ["octahedron"], groups=np.zeros(6, int))
    tips = figure.axes[0].findobj(PathCollection)[0]
    depth = np.sort(arrows.seen(OCTAHEDRON)[:, 2])
    light = [lab(color[:3])[0] for color in tips.get_facecolor()]
    assert (np.diff(depth) > 0).all() and (np.diff(light) < 0).all() and (np.diff(tips.get_sizes()) > 0).all()


def test_all_panels_have_one_scale_that_holds_every_feature():
    W = np.stack([polygon(4, 0.2), polygon(4, 3)])
    figure = geometry.arrangement(W, ["small", "large"])
    small, large = figure.axes
    assert small.get_xlim() == large.get_xlim() == small.get_ylim() and large.get_xlim()[1] > 3


def test_matrix_biases_and_norms_are_those_given_on_one_scale():
    gram = np.stack([np.eye(3), np.diag([2.0, 1, 0])])
    b = np.array([[0, 0, 0.5], [-0.4, 0, 0]])
    norms = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    figure = geometry.gram_and_norms(gram, b, norms, np.zeros((2, 3)), ["a", "b"])
    for run, ax in enumerate(figure.axes[:2]):
        matrix, column = ax.findobj(QuadMesh)[:2]
        np.testing.assert_array_equal(matrix.get_array(), gram[run])
        np.testing.assert_array_equal(np.ravel(column.get_array()), b[run])
        assert matrix.norm.vmin == column.norm.vmin == -2 and matrix.norm.vmax == 2
        bars = ax.child_axes[0]
        np.testing.assert_allclose([bar.get_height() for bar in bars.patches], norms[run])
        assert bars.get_position().x1 == pytest.approx(ax.get_position().x1)  # bars stand below their columns
        assert ax.get_ylim() == (3, 0)  # the first feature on top


def test_points_of_a_level_stay_at_their_level_and_their_D():
    over, D = np.array([1.0, 4.0, 1.0]), DRAW.uniform(0, 1, (3, 40))
    norms = np.where(D < 0.5, 0.1, 1)
    figure = dimensionality.dimensionality(over, D, norms, np.ones(3))
    pale, strong = (x.get_offsets() for x in figure.axes[1].findobj(PathCollection))
    assert len(pale) == (norms < 0.3).sum() and len(pale) + len(strong) == D.size
    for points, mask in ((pale, norms < 0.3), (strong, norms >= 0.3)):
        np.testing.assert_allclose(points[:, 1], D[mask])
        np.testing.assert_array_less(abs(np.log(points[:, 0] / np.broadcast_to(over[:, None], D.shape)[mask])), 0.2)
    line, _ = (x.get_xydata() for x in figure.axes[0].get_lines()[:2])
    np.testing.assert_allclose(line, [[1, 1], [4, 1]])  # one point a level


def test_phase_cells_have_the_colour_of_their_shares_and_the_boundary_lies_where_they_meet():
    figure = extra_feature.phase_diagrams([diagram(cells=41)])
    ax = figure.axes[0]
    importance, p, found = classes(41)
    colors = ax.findobj(QuadMesh)[0].get_facecolor().reshape(41, 41, 4)[..., :3]
    np.testing.assert_allclose(colors, np.array([to_rgb(c) for c in extra_feature.COLORS])[found])
    curve = ax.get_lines()[-1].get_xydata()  # (density, importance)
    for density, weight in curve[:-1]:
        row, low = abs(np.log(importance / weight)).argmin(), np.searchsorted(p, density)
        assert {1, 0} == set(found[row, low - 3 : low + 3])  # superposed below, ignored above
    assert ax.get_xlim() == (1, 0.01) and ax.get_ylim() == (0.1, 10)


def test_region_colours_stay_apart_for_the_colour_blind_and_in_grey():
    deuteranopia = np.reshape(  # Machado et al. 2009, severity 1
        [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881], (3, 3)
    )
    for vision in (None, deuteranopia):
        seen = [lab(color, vision) for color in extra_feature.COLORS]
        assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 20


def test_medians_bars_and_line_of_an_agreement():
    x, measured = np.array([4.0, 2.0]), np.array([[1.0, 5], [3, 6], [2, 100]])
    figure = theory.agreement({"": theory.Series(x, measured, np.array([2.0, 6]))}, "x", "y")
    lines = figure.axes[0].get_lines()
    np.testing.assert_array_equal(lines[0].get_xydata(), [[2, 6], [4, 2]])  # theory, from left to right
    np.testing.assert_array_equal(lines[-1].get_xydata(), [[2, 6], [4, 2]])  # medians
    (bars,) = figure.axes[0].findobj(lambda x: type(x) is LineCollection)
    np.testing.assert_array_equal(bars.get_segments(), [[[2, 5], [2, 100]], [[4, 1], [4, 3]]])


def test_stills_are_the_saved_points_nearest_to_the_steps_asked_for():
    figure = strip(at=[0, 510, 10_000])
    asked = [int(STEPS[abs(STEPS - step).argmin()]) for step in (0, 510, 10_000)]
    assert [ax.get_title() for ax in figure.axes[:3]] == [f"step {step:,}" for step in asked]
    dots = figure.axes[3].get_lines()[1].get_xdata()
    assert list(dots) == asked


def test_an_animation_is_a_small_gif_that_repeats_and_ends_at_the_last_point(tmp_path):
    moving = animation(frames=7, groups=np.zeros(5, int))
    path = style.save(moving, tmp_path / "new" / "moving.gif")
    first = path.read_bytes()
    assert first == style.save(moving, path).read_bytes()  # though the figure stands at its last frame now
    with mpl.rc_context({"font.size": 20}):
        again = animation(frames=7, groups=np.zeros(5, int))
        assert first == style.save(again, tmp_path / "new" / "again.gif").read_bytes()
    assert sorted(p.name for p in path.parent.iterdir()) == ["again.gif", "moving.gif"]
    with Image.open(path) as gif:
        assert gif.n_frames == 7 and gif.info["loop"] == 0 and gif.width <= 500
        times = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert times == [80] * 6 + [1500]  # GIF counts hundredths of a second: 12 frames a second are 8 each
    moving.show(6)
    (tips,) = moving.figure.axes[0].findobj(PathCollection)
    assert abs(np.linalg.norm(tips.get_offsets(), axis=1) - 1).max() < 1e-9
    assert moving.figure.axes[1].get_lines()[1].get_xdata() == STEPS[-1]


def test_frames_of_a_gif_show_what_the_figure_shows(tmp_path):
    moving = animation(3, frames=3)
    with Image.open(style.save(moving, tmp_path / "moving.gif")) as gif:
        frames = [np.asarray(frame.convert("RGB"), int) for frame in ImageSequence.Iterator(gif)]
    for i, frame in enumerate(frames):
        moving.show(i)
        moving.figure.savefig(tmp_path / "frame.png", dpi=style.GIF_DPI)
        with Image.open(tmp_path / "frame.png") as picture:
            whole = np.asarray(picture.convert("RGB"), int)
        assert frame.shape == whole.shape and abs(frame - whole).max() < 60 and abs(frame - whole).mean() < 1
        assert (frame[0, 0] == 255).all()  # the page stays white


def test_a_failed_save_of_an_animation_leaves_the_old_file(tmp_path):
    path = style.save(animation(), tmp_path / "moving.gif")
    old = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        style.save(style.Animation(animation().figure, lambda _: 1 / 0, 3), path)
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


BAD = {
    "moving.png'; animations are saved as .gif": lambda: style.save(animation(), "moving.png"),
    "still.gif'; figures are saved as .png": lambda: style.save(strip(), "still.gif"),
    "n_frames is 0; an animation has 1 to 80": lambda: style.Animation(Figure(), print, 0),
    "n_frames is 81": lambda: motion.animation(np.zeros((90, 5, 2)), np.arange(90), np.ones(90), frames=81),
    r"W has shape \(1, 5, 4\); arrows can be drawn for \[R, n, 2 or 3\]": lambda: arrangement(1, 5, 4),
    "titles has 1 entries; there are 2 runs": lambda: geometry.arrangement(np.ones((2, 3, 2)), ["one"]),
    "importance has shape": lambda: arrangement(importance=np.ones(4)),
    "groups has shape": lambda: arrangement(groups=np.ones(4, int)),
    "groups has 3 rows; there are 2 runs": lambda: geometry.arrangement(
        np.ones((2, 3, 2)), ["a", "b"], groups=np.ones((3, 3), int)
    ),
    "gram has shape": lambda: geometry.gram_and_norms(*(np.ones((2, 3)),) * 4, ["a", "b"]),
    "one_over must be": lambda: levels_of(np.array([0.5])),
    "dstar has shape": lambda: dimensionality.dimensionality(np.ones(2), *(np.ones((2, 3)),) * 2, np.ones(3)),
    "loss has shape": lambda: dimensionality.trajectories(STEPS, np.ones((T, 3)), LOSS[1:]),
    "shown has 8 features": lambda: trajectories(shown=range(8)),
    "steps has shape": lambda: motion.strip(GROWING * polygon(5), STEPS[1:]),
    "at has 9 steps": lambda: strip(at=range(9)),
    "shown is 20; the runs are 0 to 19": lambda: levels(shown=20),
    "named has levels": lambda: theory.levels(STEPS, LOSS[None], {"4-gon": 0.0}),
    "llc has steps": lambda: levels(llc=LLC._replace(values=np.ones(2))),
    "series has 0 entries": lambda: theory.agreement({}, "x", "y"),
    r"a: x has shape \(3,\) and measured \(3,\)": lambda: theory.agreement(
        {"a": theory.Series(np.ones(3), np.ones(3))}, "x", "y"
    ),
    "a: exact has shape": lambda: theory.agreement(
        {"a": theory.Series(np.ones(3), np.ones((1, 3)), np.ones(2))}, "x", "y"
    ),
    "density of 'one cell' must be": lambda: extra_feature.phase_diagrams([ONE_CELL._replace(density=np.zeros(1))]),
    "shares of 'one cell' have shape": lambda: extra_feature.phase_diagrams(
        [ONE_CELL._replace(shares=np.ones((1, 1, 2)))]
    ),
    "diagrams has 0 entries": lambda: extra_feature.phase_diagrams([]),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
