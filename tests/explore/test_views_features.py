"""Views of superposition: against closed forms and the lab's own functions, at every step of small runs."""

import numpy as np
import pytest
from viewed_recording import Small, of_features, of_start, values

from toylab.analysis.superposition import geometry
from toylab.base import Config
from toylab.explore.pictures import Heatmap, Lines
from toylab.explore.views import features
from toylab.explore.views import superposition as views
from toylab.explore.views.superposition import dimensionality, gram, graph, plane, polytope
from toylab.models import FeatureDecoder, Net, ToyModel, Transformer, UntiedToyModel
from toylab.optim import Adam
from toylab.tasks import ModularArithmetic, SparseFeatures

EVERY = (plane, gram, dimensionality, polytope, graph)


def kgon(k, n=None):
    """k features on a regular k-gon of radius 1, and others at 0: [n, 2]."""
    angle = 2 * np.pi * np.arange(k) / k
    return np.pad(np.stack([np.cos(angle), np.sin(angle)], 1), ((0, (n or k) - k), (0, 0))).astype(np.float32)


def untied(n=6, m=3):
    net = Net.of(UntiedToyModel, n_features=n, n_hidden=m)
    return of_start(Config(SparseFeatures(n_features=n), net, Adam()), steps=2)


def test_a_pentagon():
    moment = of_features(kgon(5)).moment()
    (dots,) = plane.pictures(moment, **values(plane, moment))
    np.testing.assert_array_equal(np.stack([dots.x, dots.y], 1), kgon(5))
    assert list(dots.names) == ["0", "1", "2", "3", "4"] and dots.from_origin
    # D_i = 2/5 in a regular pentagon; a few roundings of float32
    np.testing.assert_allclose(dots.values, 2 / 5, rtol=1e-5)
    matrix, bars = gram.pictures(moment)
    angle = np.subtract.outer(np.arange(5), np.arange(5)) * 2 * np.pi / 5
    np.testing.assert_allclose(matrix.values, np.cos(angle), atol=1e-6)
    assert not bars.heights.any()
    (now,) = dimensionality.pictures(moment)
    np.testing.assert_allclose(now.heights, 2 / 5, rtol=1e-5)
    assert now.limit == 1 and now.title == "Dimensionality D_i; sum 2.00"
    (table,) = polytope.pictures(moment)
    assert table.title == "W: pentagon"
    assert table.columns == {
        "polytope": ["pentagon"], "features": ["0, 1, 2, 3, 4"], "number": [5], "mean D_i": [0.4], "mean norm": [1.0],
    }  # fmt: skip


def test_antipodal_pairs_and_a_feature_that_is_absent():
    W = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0, 0]], np.float32)
    moment = of_features(W).moment()
    (table,) = polytope.pictures(moment)
    assert table.title == "W: square, 1 absent"
    assert table.columns["polytope"] == ["digon", "digon", "absent"]
    assert table.columns["features"] == ["0, 2", "1, 3", "4"]
    (net,) = graph.pictures(moment)
    weights = dict(zip(net.edges, net.weights.tolist(), strict=True))
    assert weights[0, 2] == weights[1, 3] == -1 and len(net.edges) == 10
    assert sum(abs(weight) for weight in weights.values()) == 2
    # those of a group stand side by side: 2π/5 apart
    apart = np.hypot(net.x[0] - net.x[2], net.y[0] - net.y[2])
    assert apart == pytest.approx(2 * np.sin(np.pi / 5), rel=1e-6)


def test_values_are_the_analysis_own():
    """Of random features in 4 dimensions."""
    W = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    moment = of_features(W).moment()
    np.testing.assert_array_equal(gram.pictures(moment)[0].values, geometry.gram(W))
    np.testing.assert_array_equal(dimensionality.pictures(moment)[0].heights, geometry.dimensionality(W))
    (net,) = graph.pictures(moment)
    i, j = np.array(net.edges).T
    assert len(i) == views.EDGES < 30 * 29 / 2
    np.testing.assert_array_equal(net.weights, np.asarray(geometry.gram(W))[i, j])
    every = np.sort(np.abs(np.asarray(geometry.gram(W))[np.triu_indices(30, 1)]))[::-1]
    np.testing.assert_allclose(np.sort(np.abs(net.weights))[::-1], every[: views.EDGES])


def test_colour_is_importance_where_it_varies():
    net = Net.of(ToyModel, n_features=3, n_hidden=2)
    for importance, said in ((np.array([1, 0.5, 0.25]), "importance"), (np.full(3, 2.0), "D_i"), (1.0, "D_i")):
        moment = of_start(Config(SparseFeatures(n_features=3, importance=importance), net, Adam())).moment()
        (dots,) = plane.pictures(moment)
        assert dots.title == f"W_i; colour: {said}"
        if said == "importance":
            np.testing.assert_array_equal(dots.values, importance)


def test_untied_models():
    """W_in and W_out are chosen between; what outputs read of features is their product."""
    recording = untied()
    moment = recording.moment()
    read, out = moment.params["W_in"], moment.params["W_out"]
    assert plane.controls(moment)["which"].options == ["W_in", "W_out"]
    np.testing.assert_array_equal(gram.pictures(moment)[0].values, out @ read.T)
    for name in ("W_in", "W_out"):
        assert polytope.pictures(moment, which=name)[0].title.startswith(f"{name}: ")
        (dots,) = plane.pictures(moment, which=name, axes="chosen")
        np.testing.assert_array_equal(dots.x, moment.params[name][:, 0])
    with pytest.raises(ValueError, match="weights are 'W': they must be one of W_in, W_out"):
        plane.pictures(moment, which="W")


def test_several_instances():
    W = np.random.default_rng(0).normal(size=(1, 2, 3, 5, 2)).astype(np.float32)
    recording = Small({"W": W, "b": W[..., 0]})
    moment = recording.moment(1)
    assert plane.controls(moment)["instance"].high == 2
    np.testing.assert_array_equal(plane.pictures(moment, instance=2)[0].x, W[0, 1, 2, :, 0])
    matrix, bars = gram.pictures(moment, instance=1)
    np.testing.assert_array_equal(matrix.values, geometry.gram(W[0, 1, 1]))
    np.testing.assert_array_equal(bars.heights, W[0, 1, 1, :, 0])
    with pytest.raises(ValueError, match="instance is 3: it must lie in 0 to 2"):
        plane.pictures(moment, instance=3)


def test_measures_do_in_place_of_weights():
    """A page's committed measures: no weights, but the features at every point."""
    W = np.stack([kgon(4, 5), kgon(5)])[None]
    given = {"arrangement/W": W, "arrangement/b": W[..., 0], "loss": np.ones((1, 2))}
    assert plane.lacks(Small(measures=given).moment()) is None  # a W of what, nobody knows
    recording = Small(measures=given, columns={"net.n_features": np.array([5])})
    moment = recording.moment(1)
    assert [view.lacks(moment) for view in EVERY] == [""] * 5
    np.testing.assert_array_equal(plane.pictures(moment)[0].x, kgon(5)[:, 0])
    assert polytope.pictures(moment)[0].title == "W: pentagon"
    np.testing.assert_array_equal(gram.pictures(moment)[1].heights, kgon(5)[:, 0])
    _, through = dimensionality.pictures(moment)
    assert isinstance(through, Lines) and through.at == 10
    np.testing.assert_allclose(through.lines["feature 0"], [1 / 2, 2 / 5], rtol=1e-5)
    np.testing.assert_allclose(through.lines["feature 4"], [0, 2 / 5], rtol=1e-5)
    assert recording.reads == 0


def test_dimensionality_of_a_measure_alone():
    D = np.linspace(0, 1, 60).reshape(1, 3, 20).astype(np.float32)
    recording = Small(measures={"features/dimensionality": D}, columns={"net.n_features": np.array([20])})
    moment = recording.moment(2)
    now, through = dimensionality.pictures(moment, **values(dimensionality, moment))
    np.testing.assert_array_equal(now.heights, D[0, 2])
    assert isinstance(through, Heatmap) and through.line == 2 and list(through.columns) == ["0", "10", "20"]
    np.testing.assert_array_equal(through.values, D[0].T)
    assert [view.lacks(moment) for view in EVERY if view is not dimensionality] == [recording.no_params] * 4


def test_analyses_of_the_last_point_do_in_place_of_weights():
    """They are shown at every step, which is said."""
    loss, columns = np.ones((2, 3)), {"net.n_features": np.array([5, 5])}
    W = np.stack([kgon(4, 5), kgon(5)])
    final = {"arrangement/W": W, "arrangement/b": W[..., 0], "features/norms": np.ones((2, 5))}
    recording = Small(measures={"loss": loss}, columns=columns, final=final)
    for at in (0, 2):
        moment = recording.moment(at, run=1)
        assert [view.lacks(moment) for view in EVERY] == [""] * 5
        assert polytope.pictures(moment)[0].title == "W: pentagon; of the last point"
        (dots,), (matrix, bars), (now,) = (view.pictures(moment) for view in (plane, gram, dimensionality))
        assert all(one.title.endswith("; of the last point") for one in (dots, matrix, now))
        np.testing.assert_array_equal(bars.heights, kgon(5)[:, 0])


def test_many_features():
    """10,000 of them, as in memorisation: no matrix n × n is made whole."""
    W = np.random.default_rng(0).normal(size=(10_000, 2)).astype(np.float32)
    moment = of_features(W).moment()
    (dots,) = plane.pictures(moment)
    assert len(dots.x) == views.DOTS and dots.names is None and "the first 2000 of 10000" in dots.title
    (now,) = dimensionality.pictures(moment)
    # the form of sample_dimensionality: float32 sums of 10,000 terms, 1e-4 of the value
    np.testing.assert_allclose(now.heights[:50], geometry.capacity(W)[:50], rtol=1e-4)
    matrix, bars = gram.pictures(moment)
    assert matrix.values.shape == (features.MOST, features.MOST) and "the first 400" in matrix.title
    assert len(bars.heights) == features.MOST
    for view in (polytope, graph):
        assert (
            view.lacks(moment)
            == "it compares every feature with every other: there are 10000, and at most 400 are shown."
        )


def test_long_lists_are_cut():
    """Of 60 features in one direction."""
    moment = of_features(np.pad(np.ones((60, 1), np.float32), ((0, 0), (0, 1)))).moment()
    (table,) = polytope.pictures(moment)
    assert table.title == "W: 60 copies" and table.columns["number"] == [60]
    assert table.columns["features"][0].endswith("22, 23, …")
    assert set(graph.pictures(moment)[0].names) == {""}


def test_what_a_run_lacks():
    toy = Config(SparseFeatures(n_features=5), Net.of(ToyModel, n_features=5, n_hidden=2), Adam())
    loss = {"loss": np.ones((1, 2))}
    committed = Small(measures=loss, config=toy).moment()
    assert {view.lacks(committed) for view in EVERY} == {committed.recording.no_params}
    columns = Small(measures=loss, columns={"net.n_features": np.array([5])}).moment()
    assert {view.lacks(columns) for view in EVERY} == {columns.recording.no_params}
    partly = Small({"b": np.zeros((1, 2, 5))}, config=toy).moment()
    assert {view.lacks(partly) for view in EVERY} == {"W is not recorded."}


def test_where_nobody_expects_them():
    grokking = Config(ModularArithmetic(p=5, n_train=9), Net.of(Transformer, d_vocab=6, d_vocab_out=5, n_ctx=3), Adam())
    decoder = Config(
        SparseFeatures(n_features=5), Net.of(FeatureDecoder, n_features=5, n_hidden=5, d_mlp=5), Adam()
    )  # its W_in and W_out are as large as those of an untied model
    for config in (grokking, decoder):
        moment = of_start(config).moment()
        assert {view.lacks(moment) for view in EVERY} == {None}
    assert {view.lacks(Small(measures={"loss": np.ones((1, 2))}).moment()) for view in EVERY} == {None}
