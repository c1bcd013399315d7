"""The figures of circuit discovery: what is drawn where, legible at column width."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.patches import PathPatch
from printed import assert_printable

from toylab.plots.attention import circuit_graph, discovery
from toylab.plots.attention.circuit_graph import Found

SENDERS, RECEIVERS = ("embed", "pos", "0.0", "1.0"), ("0.0.q", "0.0.k", "0.0.v", "1.0.q", "1.0.k", "1.0.v", "out")
RNG = np.random.default_rng(0)


def mask(*edges):
    found = np.zeros((4, 7), bool)
    for sender, receiver in edges:
        found[SENDERS.index(sender), RECEIVERS.index(receiver)] = True
    return found


def test_edges_are_drawn_from_sender_to_receiver_and_told_apart():
    true = mask(("pos", "0.0.q"), ("0.0", "1.0.k"), ("1.0", "out"))
    kept = mask(("0.0", "1.0.k"), ("1.0", "out"), ("embed", "1.0.v"))
    figure = circuit_graph.circuits(SENDERS, RECEIVERS, {"all": Found(true, true), "some": Found(kept, true)})
    assert_printable(figure)
    every, some = ([patch for patch in ax.patches if type(patch) is PathPatch] for ax in figure.axes)
    assert len(every) == 3 and len(some) == 4
    assert [patch.get_linestyle() for patch in every] == ["solid"] * 3
    looks = {patch.get_edgecolor() for patch in some if patch.get_linestyle() != "solid"}
    assert len(looks) == 1  # the one that is missed
    for patch in every:
        (_, low), *_, (_, high) = patch.get_path().vertices
        assert low < high
    with pytest.raises(ValueError, match=r"^all has shape \(4, 6\); it is \[4 senders, 7 receivers\]"):
        circuit_graph.circuits(SENDERS, RECEIVERS, {"all": Found(true[:, :6])})


def test_wider_is_heavier():
    kept = mask(("0.0", "1.0.k"), ("1.0", "out"))
    weight = np.where(mask(("0.0", "1.0.k")), 3.0, 1.0)
    (ax,) = circuit_graph.circuits(SENDERS, RECEIVERS, {"": Found(kept, weight=weight)}).axes
    heavy, light = (patch.get_linewidth() for patch in ax.patches if type(patch) is PathPatch)
    assert heavy > light


def recall_of_four_methods():
    return discovery.recall_curves(np.geomspace(1e-4, 1e3, 8), dict.fromkeys("abcd", dict.fromkeys("xyzw", np.ones(8))))


def rates_in_two_panels():
    curve = np.linspace([0.0, 0, 0], 1, 5).T
    return discovery.roc_curves({title: {"x": (curve, curve**0.5, 0.5), "y": (curve, curve, 1.0)} for title in "ab"})


def maps():
    marks = {15: "same token", 16: "its successor", 31: "last token"}
    tables = (RNG.uniform(-1, 1, size) for size in ((2, 32), (2, 2, 32), (3, 2, 2)))
    return discovery.patching_maps(*tables, marks)


def formation():
    losses, effects = RNG.random((3, 5)), RNG.random((3, 5, 12))
    return discovery.edges_through_training(np.arange(5) * 700, losses, effects, np.eye(3, 12, dtype=bool), "the edge")


def shares():
    losses = {name: RNG.random((3, 3)) for name in ("the network", "scrubbed", "no dependence")}
    names = ("query:\nthis token", "key:\nprevious token", "all\nthree")
    return discovery.explained(RNG.random((3, 3)), losses, names, {"language model: 0.35": 0.35})


@pytest.mark.parametrize("figure", [recall_of_four_methods, rates_in_two_panels, maps, formation, shares])
def test_the_other_figures_are_printable(figure):
    assert_printable(figure())


def test_recall_of_every_method_is_a_line():
    figure = discovery.recall_curves(np.array([0.1, 1.0]), {"p": {"zero": np.array([1.0, 0.5]), "KL": np.zeros(2)}})
    (ax,) = figure.axes
    zero, KL = ax.lines
    np.testing.assert_array_equal(zero.get_ydata(), [1, 0.5])
    np.testing.assert_array_equal(KL.get_ydata(), 0)
    assert (zero.get_xdata() < KL.get_xdata()).all()  # side by side


def test_methods_are_compared_with_the_known_circuit():
    true, kept = mask(("0.0", "1.0.k"), ("1.0", "out")), mask(("1.0", "out"))
    figure = circuit_graph.compared(SENDERS, RECEIVERS, {"one": true, "other": kept}, true)
    assert [ax.get_title() for ax in figure.axes] == ["one", "other"]
    styles = [[p.get_linestyle() for p in ax.patches if type(p) is PathPatch] for ax in figure.axes]
    assert [sum(look != "solid" for look in looks) for looks in styles] == [0, 1]


def test_patching_of_a_block_that_stands_twice_marks_where_its_last_token_first_stood():
    residual, z, paths = RNG.uniform(0, 1, (2, 16)), RNG.uniform(0, 1, (2, 2, 16)), RNG.uniform(0, 1, (3, 2, 2))
    found = discovery.induction_patching(residual, z, paths)
    marked = discovery.patching_maps(residual, z, paths, {7: "same token", 8: "its successor", 15: "last token"})
    drawn = [BytesIO(), BytesIO()]
    for figure, file in zip((found, marked), drawn, strict=True):
        figure.savefig(file, format="png")
    assert drawn[0].getvalue() == drawn[1].getvalue()
