"""Accuracies without neurons, and how pure they are: text inside and apart, what is drawn, and what is refused."""

from functools import cache

import numpy as np
import pytest
from printed import assert_printable, written

from toylab.plots.modular import pruned

SHARE = np.linspace(0, 1, 21)
RNG = np.random.default_rng(0)


def accuracies(runs=3):
    names = ("training set", "its wrong labels", "its right labels", "test set")
    return {name: np.clip(1 - SHARE ** (i + 1) + RNG.normal(0, 0.01, (runs, 21)), 0, 1) for i, name in enumerate(names)}


def by_set(runs=3):
    return dict(zip(("train", "wrong", "right", "test"), accuracies(runs).values(), strict=True))


def neurons(runs=3, dead=0):
    found = RNG.uniform(0, 1, (runs, 40))
    found[:, :dead] = np.nan
    return found


DRAWINGS = {
    "both ends": lambda: pruned.pruning(
        SHARE, {"the least pure first": accuracies(), "the purest first": accuracies(1)}, {"1 − ν + ν/p": 0.65}
    ),
    "ends by set": lambda: pruned.both_ends(by_set(), by_set(1), {"1 − ν + ν/p": 0.65}),
    "one end": lambda: pruned.pruning(SHARE, {"the least pure first": accuracies()}),
    "four nets": lambda: pruned.purities({f"decay {i}": neurons(dead=i) for i in range(4)}),
    "five nets": lambda: pruned.purities({f"decay {i}": neurons(dead=20) for i in range(5)}),
    "all dead": lambda: pruned.purities({"decay 20": neurons(dead=40)}),
}


@cache
def drawn(name):
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_is_inside_the_figure_apart_and_large_enough_to_print(name):
    assert_printable(drawn(name))


def test_each_run_is_thin_and_the_median_strong():
    left, right = drawn("both ends").axes
    assert len(left.lines) == 4 * (3 + 1) + 1 and len(right.lines) == 4 + 1  # and the level; a lone run is its median


def test_the_ends_have_titles_and_sets_their_names_in_full():
    assert [ax.get_xlabel() for ax in drawn("ends by set").axes] == [
        "neurons pruned (%), the least pure first",
        "neurons pruned (%), the purest first",
    ]
    names = [text.get_text() for text in drawn("ends by set").legends[0].texts]
    assert names == ["training set", "its wrong labels", "its right labels", "test set", "1 − ν + ν/p"]
    first = drawn("ends by set").axes[0].lines[0].get_xdata()
    assert (first[0], first[-1], len(first)) == (0, 100, 21)


def test_bars_are_per_cent_of_all_neurons_and_those_without_weights_are_said():
    ax = drawn("four nets").axes[2]
    values, edges, _ = ax.patches[0].get_data()
    assert values.sum() == pytest.approx(95) and (edges[0], edges[-1]) == (0, 1)
    assert any("5 % without" in text.get_text() for text in written(drawn("four nets")))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pruned.pruning(SHARE, {}), r"^panels has 0 entries; it has 1 to 3$"),
        (
            lambda: pruned.pruning(SHARE, {"a": {"test": np.ones((2, 20))}}),
            r"^test has shape \(2, 20\); with 21 shares",
        ),
        (
            lambda: pruned.both_ends({"wrongs": np.ones((2, 3))}, {}),
            r"^least and most have the sets \['wrongs'\]; they are some of train, wrong, right, test$",
        ),
        (lambda: pruned.purities({}), r"^ipr is empty; it has at least one panel$"),
        (lambda: pruned.purities({"a": np.ones(3)}), r"^a has shape \(3,\); it is \[R, N\]$"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
