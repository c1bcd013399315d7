"""Figures: text is inside and apart, nan and lone runs survive, a redraw gives the same bytes."""

from functools import cache
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from colours import lab
from matplotlib.collections import QuadMesh
from PIL import Image
from printed import assert_printable, written

from toylab import plots
from toylab.plots import curves, labels, palette, style
from toylab.plots.modular import circles, spectra

P, R = 113, 5
STEPS = np.unique(np.concatenate([[0], np.geomspace(1, 2000, 70), np.linspace(2000, 40000, 130)]).astype(int))
MEMORISED = np.array([900.0, 700, 800, 850, 1000])[:, None]
GENERALISED = np.array([10500.0, 5500, 8500, 8600, 15000])[:, None]
PHASES = np.hstack([MEMORISED, 0.85 * GENERALISED, 1.2 * GENERALISED])  # [R, 3]
NO_PHASES = np.full((1, 3), np.nan)
FOUND = (14, 35, 41, 42, 52)


def rise(middle, width):
    """A step from 0 to 1 for each run: [R, T]."""
    return 1 / (1 + np.exp(-np.clip((STEPS - middle) / width, -50, 50)))


def key_at(*frequencies):
    key = np.zeros(P // 2 + 1, bool)
    key[list(frequencies)] = True
    return key


TRAIN = 4.77 * np.exp(-15 * rise(2 * MEMORISED, MEMORISED / 3))
TEST = 4.77 * np.exp(1.6 * rise(MEMORISED, 200) - 17 * rise(GENERALISED, GENERALISED / 12))
RESTRICTED = 4.77 * np.exp(-15 * rise(0.6 * GENERALISED, 800))
EXCLUDED = np.exp(3 * rise(0.5 * GENERALISED, 900) - 7 * rise(MEMORISED, 200) + 6 * rise(3000, 900))
SHARES = rise(MEMORISED / 3, 60), rise(GENERALISED, 400)
GINI = 0.15 + 0.5 * rise(GENERALISED, 900), 0.12 + 0.6 * rise(0.9 * GENERALISED, 900)
SQUARES = 1200 + 2400 * np.exp(-STEPS / 6000) * np.ones((R, 1))
GROUPS = {name: SQUARES / 3 for name in ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_in", "b_in", "W_out")}
ENERGY = 2 * np.exp(-STEPS / 4000)[:, None] + rise(5000, 900)[:1].T * 20 * key_at(*FOUND)  # [T, p//2 + 1]


def embedding(*frequencies, d_model=64):
    draw = np.random.default_rng(0)
    turns = 2 * np.pi * np.outer(np.arange(P), frequencies) / P
    waves = np.hstack([np.cos(turns), np.sin(turns)])
    W_E = waves @ draw.standard_normal((2 * len(frequencies), d_model))
    return W_E + 0.1 * draw.standard_normal(W_E.shape)


def ragged(values):
    """The shown run ends early."""
    values = np.array(values, float)
    values[0, STEPS > 12000] = np.nan
    return values


def learning(**options):
    return curves.learning(STEPS, TRAIN, TEST, *SHARES, PHASES, **options)


def progress(cut=np.asarray, phases=PHASES, **options):
    return curves.progress(STEPS, *map(cut, (TRAIN, TEST, RESTRICTED, EXCLUDED)), phases, **options)


def structure(**options):
    return curves.structure(STEPS, *GINI, SQUARES, PHASES, **options)


def through(energy=ENERGY, key=FOUND, phases=PHASES[0], **options):
    return spectra.through_training(STEPS, energy, energy, key_at(*key), phases, **options)


def final(energy=ENERGY[-1], key=FOUND):
    return spectra.final(energy, energy, key_at(*key))


def circle(*key, W_E=None):
    return circles.embedding_circles(embedding(*FOUND) if W_E is None else W_E, key_at(*key))


UNFINISHED = np.where([True, True, False], PHASES, np.nan)
EMPTY = np.full((1, len(STEPS)), np.nan)
DRAWINGS = {
    "learning": learning,
    "learning log": lambda: learning(xscale="log"),
    "learning of one run": lambda: curves.learning(STEPS, *(x[:1] for x in (TRAIN, TEST, *SHARES, PHASES))),
    "learning of nothing": lambda: curves.learning(STEPS, EMPTY, EMPTY, EMPTY, EMPTY, NO_PHASES),
    "one point": lambda: curves.learning(STEPS[:1], *(x[:, :1] for x in (TRAIN, TEST, *SHARES)), PHASES),
    "loss of zero": lambda: curves.learning(STEPS, 0 * TRAIN, TEST, *SHARES, PHASES),
    "progress": progress,
    "progress log": lambda: progress(xscale="log"),
    "progress ragged": lambda: progress(ragged, UNFINISHED),
    "structure": structure,
    "structure by name": lambda: structure(by_name=GROUPS, xscale="log"),
    "through training": through,
    "through training log": lambda: through(xscale="log"),
    "through training, ragged": lambda: through(np.where(STEPS[:, None] > 12000, np.nan, ENERGY)),
    "through training, no key": lambda: through(key=(), phases=NO_PHASES[0]),
    "through training, neighbours": lambda: through(key=(0, 1, 2, 3, 40, 41, 42, 54, 55, 56)),
    "through training, nothing": lambda: through(np.full_like(ENERGY, np.nan)),
    "final": final,
    "final, no key": lambda: final(ENERGY[0], ()),
    "final, neighbours": lambda: final(key=(0, 1, 2, 3, 40, 41, 42, 54, 55, 56)),
    "final, nothing": lambda: final(np.full(P // 2 + 1, np.nan)),
    "circles": lambda: circle(*FOUND),
    "one circle": lambda: circle(14),
    "two circles": lambda: circle(14, 42),
    "seven circles": lambda: circle(1, 2, *FOUND),
    "ten circles": lambda: circle(1, 2, 3, 55, 56, *FOUND),
    "no circle": lambda: circle(),
    "no embedding": lambda: circle(14, W_E=np.full((P, 8), np.nan)),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


WORDS = {
    "learning": "optimiser step|loss (nats)|accuracy (%)|train|test|memorisation|cleanup|20k",
    "learning log": "0|1|100|10k",
    "learning of one run": "train|test",
    "progress": "train|test|restricted|excluded|strong lines and phases: run 0; pale: the 4 other runs",
    "progress ragged": "memorisation|circuit formation",
    "structure by name": "Gini coefficient|sum of squared weights|embedding|neuron–logit|total|W_pos|b_in",
    "through training": "14|35|41|42|52|norm (weight units)|frequency $k$ (cycles/$p$)|optimiser step",
    "through training, no key": "no key frequency",
    "final": "14|35|41|42|52|norm (weight units²)",
    "final, no key": "no key frequency",
    "circles": "along cos $k$ (weight units)|$k$ · token mod $p$ (turns)|0",
    "no circle": "no key frequency: no circle to draw",
}


@pytest.mark.parametrize("name", WORDS)
def test_what_is_written(name):
    assert set(WORDS[name].split("|")) <= {text.get_text() for text in written(drawn(name))}


def test_a_phase_that_did_not_end_is_not_named():
    assert "cleanup" not in {text.get_text() for text in written(drawn("progress ragged"))}


@pytest.mark.slow
@pytest.mark.parametrize("draw", [learning, structure, through, final, lambda: circle(*FOUND)])
def test_a_redraw_gives_the_same_bytes(draw, tmp_path):
    drawn = draw()
    first = style.save(drawn, tmp_path / "new" / "first.png").read_bytes()
    assert first == style.save(drawn, tmp_path / "again.png").read_bytes()
    with mpl.rc_context({"font.size": 20, "axes.grid": True, "xtick.labelsize": 30}):
        assert first == style.save(draw(), tmp_path / "other.png").read_bytes()
    assert sorted(p.name for p in tmp_path.rglob("*.png*")) == ["again.png", "first.png", "other.png"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = style.save(final(), tmp_path / "figure.png")
    old = path.read_bytes()
    broken = final()
    monkeypatch.setattr(broken, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        style.save(broken, path)
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def true_colour(figure):
    """The picture as it is before its palette."""
    with mpl.style.context(style.HOUSE, after_reset=True):
        return style._picture(figure, style.HOUSE["savefig.dpi"]).convert("RGB")


@pytest.mark.parametrize("draw", [learning, structure, through, lambda: circle(*FOUND)])
def test_a_figure_is_saved_in_a_palette_that_does_not_show(draw, tmp_path):
    figure = draw()
    true, saved = true_colour(figure), Image.open(style.save(figure, tmp_path / "figure.png"))
    assert saved.mode == "P" and saved.size == true.size
    assert saved.info["dpi"] == pytest.approx((200, 200), abs=0.01)
    assert 0 < palette.furthest(true, saved) <= palette.MOST_OFF
    a, b = (np.asarray(picture.convert("RGB")) for picture in (true, saved))
    white = (a == 255).all(axis=-1)
    assert white.mean() > 0.3 and (b[white] == 255).all()
    true.save(tmp_path / "true.png", optimize=True)
    assert (tmp_path / "figure.png").stat().st_size < 0.5 * (tmp_path / "true.png").stat().st_size


def test_few_lines_have_few_colours_and_nearly_every_pixel_keeps_its_own():
    figure = mpl.figure.Figure(figsize=(3, 2))
    figure.add_subplot().plot([0, 1, 3], [0, 2, 1], label="text")
    true = style._picture(figure, 200).convert("RGB")
    few = palette.reduced(true)
    assert few.mode == "P" and len(few.getcolors()) <= palette.FEWER[-1]
    changed = (np.asarray(few.convert("RGB")) != np.asarray(true)).any(axis=-1)
    assert 0 < changed.mean() <= palette.CHANGED and palette.furthest(true, few) <= palette.MOST_OFF


def test_smooth_colours_and_transparency_keep_true_colour():
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    smooth = Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8))  # 65,536 colours on a plane
    one_hue = Image.fromarray(np.stack([x, x, x // 2], axis=-1).astype(np.uint8))  # 256 on a line
    assert palette.furthest(one_hue, palette.reduced(one_hue)) == 0
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))
    assert palette.reduced(noise).mode == "RGB" and 0 < palette.furthest(noise, palette.reduced(noise)) <= 4
    assert palette.furthest(smooth, palette.reduced(smooth)) <= palette.MOST_OFF
    glass = one_hue.copy()
    glass.putalpha(128)
    assert palette.reduced(glass) is glass


def test_colours_stay_apart_for_the_colour_blind_and_in_grey():
    deuteranopia = np.reshape(  # Machado et al. 2009, severity 1
        [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881], (3, 3)
    )
    for colors in ((style.TRAIN, style.TEST, style.RESTRICTED, style.EXCLUDED), style.SERIES):
        for vision in (None, deuteranopia):
            seen = [lab(color, vision) for color in colors]
            assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 10
    assert lab(style.TEST)[0] - lab(style.TRAIN)[0] > 20


def test_heat_map_cells_lie_at_their_steps():
    (mesh, *_) = through().axes[0].findobj(QuadMesh)
    x = mesh.get_coordinates()[0, :, 0]
    assert (np.diff(x) > 0).all() and (x[0], x[-1]) == (STEPS[0], STEPS[-1])
    assert (x[:-1] <= STEPS).all() and (x[1:] >= STEPS).all()
    np.testing.assert_allclose(mesh.get_array(), np.sqrt(ENERGY).T)


def test_spread_keeps_labels_apart_in_order_and_moves_no_more_than_it_must():
    draw = np.random.default_rng(0)
    for n in (1, 2, 5, 9):
        wanted, sizes = draw.uniform(0, 100, n), draw.uniform(2, 10, n)
        centres = labels.spread(wanted, sizes, 0, 100)
        order = np.argsort(wanted)
        gaps = np.diff(centres[order]) - (sizes[order][1:] + sizes[order][:-1]) / 2
        assert (gaps > -1e-9).all()
        assert (centres - sizes / 2 > -1e-9).all() and (centres + sizes / 2 < 100 + 1e-9).all()
    np.testing.assert_allclose(labels.spread(np.array([50.0, 20, 50]), np.full(3, 4.0), 0, 100), [48, 20, 52])


def test_the_plane_of_a_circle_keeps_its_distances():
    skew = np.random.default_rng(0).standard_normal((2, 20))  # directions neither orthogonal nor equal
    angle = 2 * np.pi * 14 * np.arange(P) / P
    W_E = np.stack([np.cos(angle), np.sin(angle)], 1) @ skew
    points, share = circles.plane(W_E, 14)
    assert share == pytest.approx(1)
    apart = np.linalg.norm(W_E - W_E[0], axis=1)
    np.testing.assert_allclose(np.linalg.norm(points - points[0], axis=1), apart, atol=1e-9)
    assert points[0, 0] > 0 and abs(points[0, 1]) < 1e-9  # token 0 lies along cos
    assert circles.plane(W_E, 15)[1] < 1e-9


BAD = {
    "shown is 5": lambda: learning(shown=5),
    "xscale is 'cubic'; it is 'linear' or 'log'": lambda: learning(xscale="cubic"),
    "train_loss has shape": lambda: progress(lambda x: x[:2]),
    "phases has shape": lambda: progress(phases=PHASES[:, :2]),
    "steps must be": lambda: curves.learning(STEPS[::-1], TRAIN, TEST, *SHARES, PHASES),
    "embedding has shape": lambda: through(ENERGY[:-1]),
    "W_E": lambda: circle(W_E=np.ones((5, 3))),
    "figure.pdf": lambda: style.save(final(), "figure.pdf"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()


@style.house
def with_note(text):
    figure, _ = style.panels(style.COLUMN, 2.4)
    style.note(figure, text)
    return figure


def test_a_note_is_broken_where_the_figure_ends():
    figure = with_note("first\n" + "some words " * 20)
    assert_printable(figure)
    first, *rest = figure.get_supxlabel().split("\n")
    assert first == "first" and " ".join(rest) == ("some words " * 20).strip() and 2 < len(rest) < 6
    assert with_note("one line").get_supxlabel() == "one line"


def test_every_picture_is_importable_from_plots_itself():
    families = [path for path in Path(plots.__file__).parent.iterdir() if (path / "__init__.pyi").is_file()]
    assert len(families) >= 4
    for family in families:
        for path in family.glob("[a-z]*.py"):
            assert hasattr(plots, path.stem), f"{path.stem} of {family.name}"
