"""Patterns, circuits and composition: text inside and apart, cells and edges are what was given."""

from functools import cache

import numpy as np
import pytest
from matplotlib.patches import FancyBboxPatch
from printed import assert_printable, pixels

from toylab.plots.attention import composition
from toylab.plots.attention import patterns as attention

STEPS = np.array([0.0, 10, 100, 500, 1000, 2000, 4000])
BLOCK = ["BOS", *"abcdefgh" * 2]


def rng():
    return np.random.default_rng(0)


def attend(*shape, causal=True):
    """A random pattern of shape [..., P, P]."""
    weights = rng().exponential(size=shape)
    weights = np.tril(weights) if causal else weights
    return weights / weights.sum(-1, keepdims=True)


def circuits(n_heads, *kinds, size=20, tokens=()):
    return attention.circuits({kind: rng().normal(size=(2, n_heads, size, size)) for kind in kinds}, tokens)


def composed(n_heads, *kinds, points=()):
    return {kind: rng().uniform(0.05, 0.4, (*points, n_heads, n_heads)) for kind in kinds}


def strip(at=STEPS):
    rows = {
        "L0H1": attention.Row(attend(7, 17, 17), tokens=BLOCK),
        "L1H0": attention.Row(attend(7, 17, 17), tokens=BLOCK),
        "L1H0 OV": attention.Row(rng().normal(size=(7, 32, 32)), "OV"),
        "L0H1 QK": attention.Row(rng().normal(size=(7, 32, 32)), "positional QK"),
    }
    return attention.strip(rows, STEPS, at=at)


DRAWINGS = {
    "patterns": lambda: attention.patterns(attend(2, 4, 17, 17), BLOCK),
    "patterns of many heads": lambda: attention.patterns(attend(2, 8, 100, 100, causal=False)),
    "patterns of one head": lambda: attention.patterns(attend(1, 1, 3, 3)),
    "patterns with long names": lambda: attention.patterns(attend(2, 2, 9, 9), [f"token {i}" for i in range(9)]),
    "circuits": lambda: circuits(2, "QK", "OV", tokens=[*"abcdefghijklmnopqrst"]),
    "circuits of four heads": lambda: circuits(4, "QK", "OV", size=128),
    "circuits of eight heads": lambda: circuits(8, "QK", "OV"),
    "a single kind of circuit": lambda: circuits(1, "positional QK"),
    "strip": strip,
    "strip of three": lambda: strip(STEPS[[0, 3, 6]]),
    "composition": lambda: composition.composition(composed(2, "Q", "K", "V"), 0.177),
    "composition of eight heads": lambda: composition.composition(composed(8, "Q", "K", "V"), 0.177),
    "composition of a kind": lambda: composition.composition(composed(4, "K"), 0.177),
    "graph": lambda: composition.composition_graph(composed(2, "Q", "K", "V"), 0.177),
    "graph of eight heads": lambda: composition.composition_graph(composed(8, "Q", "K", "V"), 0.177),
    "graph without edges": lambda: composition.composition_graph(composed(2, "K"), 1.0),
    "graphs": lambda: composition.composition_graphs(composed(4, "Q", "K", "V", points=(7,)), STEPS, 0.177, at=STEPS),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


def images(figure):
    return [image.get_array() for ax in figure.axes for image in ax.images]


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["circuits", "graph"])
def test_a_redraw_gives_the_same_picture(name):
    found = [pixels(DRAWINGS[name]()) for _ in range(2)]
    assert len(set(found)) == 1


def test_cells_are_the_attention_and_only_a_causal_pattern_hides_what_comes_later():
    causal, both = attend(1, 2, 5, 5), attend(1, 2, 5, 5, causal=False)
    for image, values in zip(images(attention.patterns(causal)), causal[0], strict=True):
        np.testing.assert_array_equal(image.mask, np.triu(np.ones((5, 5), bool), 1))
        np.testing.assert_array_equal(image.filled(0), values)
    assert not any(np.ma.getmaskarray(image).any() for image in images(attention.patterns(both)))


def test_circuits_are_white_at_zero_and_each_layer_has_its_scale():
    values = np.zeros((2, 1, 3, 3))
    values[0, 0, 0, 1], values[1, 0, 2, 2] = -4.0, 0.5
    figure = attention.circuits({"OV": values})
    shown = [image for ax in figure.axes for image in ax.images]
    assert [image.get_clim() for image in shown] == [(-4, 4), (-0.5, 0.5)]
    white = shown[0].cmap(shown[0].norm(0.0))
    assert min(white[:3]) > 0.95
    blue, red = (shown[i].cmap(shown[i].norm(v)) for i, v in ((0, -4.0), (1, 0.5)))
    assert blue[2] > blue[0] and red[0] > red[2]


def test_columns_of_a_strip_are_the_saved_points_nearest_to_the_steps():
    values = np.arange(7.0)[:, None, None] * np.ones((7, 2, 2))
    figure = attention.strip({"L0H0": attention.Row(values, "QK")}, STEPS, at=(90, 4100))
    assert [image[0, 0] for image in images(figure)] == [2, 6]
    assert [ax.get_title() for ax in figure.axes[:2]] == ["step 100", "step 4,000"]


def test_edges_are_as_wide_as_composition_exceeds_the_baseline():
    values = np.array([[0.1, 0.3], [0.25, 0.2]])
    (ax,) = composition.composition_graph({"K": values}, 0.2).axes
    edges = {(line.get_xdata()[0], line.get_xdata()[1]): line.get_linewidth() for line in ax.get_lines()}
    assert edges == pytest.approx({(-0.5, 0.5): composition.THICKEST, (0.5, -0.5): composition.THICKEST / 2})
    assert len([patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]) == 4


def test_one_scale_for_all_graphs_of_a_strip():
    values = np.array([[[0.3]], [[0.4]]])
    figure = composition.composition_graphs({"Q": values}, np.array([0.0, 1.0]), 0.2)
    widths = [ax.get_lines()[0].get_linewidth() for ax in figure.axes]
    assert widths == pytest.approx([composition.THICKEST / 2, composition.THICKEST])


def test_the_table_of_composition_has_its_numbers_in_its_cells():
    ax = composition.composition({"K": np.array([[0.1, 0.318], [0.25, 1.0]])}, 0.2).axes[0]
    assert {t.get_text(): t.get_position() for t in ax.texts} == {
        ".10": (0, 0),
        ".32": (1, 0),
        ".25": (0, 1),
        "1.00": (1, 1),
    }


BAD = {
    r"pattern has shape \(4, 4\)": lambda: attention.patterns(attend(4, 4)),
    "pattern goes from 0 to 2": lambda: attention.patterns(2 * attend(1, 1, 4, 4)),
    "tokens has 3 entries; pattern has 4": lambda: attention.patterns(attend(1, 1, 4, 4), "abc"),
    "pattern has 13 heads a layer": lambda: attention.patterns(attend(1, 13, 4, 4)),
    "by_kind has 0 entries": lambda: attention.circuits({}),
    "kind of .* is 'KQ'; it is one of pattern, QK, OV, positional QK": lambda: circuits(1, "KQ"),
    "rows is empty": lambda: attention.strip({}, STEPS),
    "L0H0 has 2 saved points; steps has 7": lambda: attention.strip({"L0H0": attention.Row(attend(2, 4, 4))}, STEPS),
    "at has 9 steps": lambda: strip(range(9)),
    r"by_kind has \['X'\]": lambda: composition.composition({"X": np.ones((2, 2))}, 0.1),
    r"by_kind has shapes \[\(2,\)\]": lambda: composition.composition_graph({"K": np.ones(2)}, 0.1),
    "by_kind has 2 saved points": lambda: composition.composition_graphs({"K": np.ones((2, 1, 1))}, STEPS, 0.1),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
