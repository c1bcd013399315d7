"""Figures of subcircuits: text inside and apart, every head a point, rows and columns in order, runs that never learn."""

from functools import cache

import numpy as np
import pytest
from printed import assert_printable

from toylab.plots.attention import subcircuits

RANDOM = np.random.default_rng(0)
STRENGTH = RANDOM.uniform(0, 0.9, (3, 8))
SOLO = 0.35 + 0.6 * STRENGTH
PREVIOUS = RANDOM.uniform(0.1, 0.95, (3, 8))
LOST = RANDOM.normal(0, 0.1, (3, 8, 8))
STEPS = np.array([0.0, 25, 100, 500, 1000, 5000, 20000])
NAMES = (
    "none (one head)",
    "a previous-token pattern",
    "copying",
    "layer 1",
    "layer 1 and copying",
    "layer 1 and matching",
)
LOSS = {name: np.tile(np.linspace(1.9, 0.01 * i, len(STEPS)), (3, 1)) for i, name in enumerate(NAMES)}
CROSSED = {name: np.array([900.0, 4000, 15000]) / (i + 1) for i, name in enumerate(NAMES)}
CROSSED["copying"] = np.array([500.0, np.nan, 700])
LIMITS = {"ln 5": np.log(5), "ln 2": np.log(2), "0.4 ln 2": 0.4 * np.log(2)}
TOY = {
    name: np.geomspace([1, 1], [end, end / 2], 900, axis=1)
    for name, end in {"none": 5e-4, "c": 1e-9, "b, c": 1e-20}.items()
}
NEVER = {name: np.full(3, np.nan) for name in NAMES}
PUBLISHED = {f"paper, seed {seed}": (STRENGTH[0], SOLO[0] - 0.1) for seed in (5, 6)}
DRAWINGS = {
    "redundancy": lambda: subcircuits.redundancy(STRENGTH, SOLO, PUBLISHED, 0.5),
    "wiring": lambda: subcircuits.wiring(LOST, PREVIOUS, STRENGTH),
    "clamps": lambda: subcircuits.clamps(STEPS, LOSS, CROSSED, LIMITS),
    "clamps of which none is learned": lambda: subcircuits.clamps(STEPS, LOSS, NEVER, LIMITS),
    "toy": lambda: subcircuits.toy(TOY, 1e-3),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


def test_each_head_of_each_run_is_a_point():
    points = [group.get_offsets() for group in drawn("redundancy").axes[0].collections]
    assert [len(group) for group in points] == [24, 8, 8]
    np.testing.assert_allclose(points[0][8:16], np.stack([STRENGTH[1], SOLO[1]], axis=1))


def test_the_wiring_is_sorted_by_attention_and_strength():
    image = drawn("wiring").axes[1].images[0].get_array()
    rows, columns = np.argsort(-PREVIOUS[1]), np.argsort(-STRENGTH[1])
    np.testing.assert_allclose(image, LOST[1][rows][:, columns])
    assert drawn("wiring").axes[1].get_yticklabels()[0].get_text() == f"H{rows[0]}  {PREVIOUS[1].max():.2f}"


def test_a_run_that_never_learns_is_told():
    right = drawn("clamps").axes[1]
    assert [text.get_text() for text in right.texts if "not" in text.get_text()] == ["1 not"]
    assert sorted(len(line.get_xdata()) for line in right.lines) == [2, 3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: subcircuits.redundancy(STRENGTH, SOLO[:2], {}, 0.5), r"strength has shape \(3, 8\) and solo \(2, 8\)"),
        (lambda: subcircuits.wiring(LOST[:, :4], PREVIOUS, STRENGTH), r"lost has shape \(3, 4, 8\)"),
        (lambda: subcircuits.clamps(STEPS[:3], LOSS, CROSSED, LIMITS), r"with 3 steps it is \[R, 3\]"),
        (lambda: subcircuits.clamps(STEPS, LOSS, {}, LIMITS), r"crossed \[\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
