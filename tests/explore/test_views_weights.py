"""Any weights: what is shown of a param of each shape, singular values and norms against closed forms."""

import numpy as np
import pytest
from one_run import WHY, at, first, forms, recording, started

from toylab.analysis import norms as of_params
from toylab.base import Config
from toylab.explore.pictures import Bars, Heatmap, Lines
from toylab.explore.views import weights
from toylab.models import ModularMLP, Net, ToyModel, Transformer
from toylab.models.handbuilt import InductionMachine
from toylab.optim import Adam
from toylab.tasks import ModularArithmetic, SparseFeatures

NET = Net.of(Transformer, d_vocab=6, d_vocab_out=6, n_ctx=3, n_layers=2, n_heads=2, d_model=8, d_mlp=12)
CONFIG = Config(ModularArithmetic(p=5, n_train=15), NET, Adam())
TWO = at(recording(CONFIG, [started(CONFIG), started(CONFIG, 1)]))


def arrays(*points, measures=None):
    """Arrays of somebody's, of which no config is known."""
    return at(recording(None, list(points), measures, steps=None if points else np.arange(2)))


def test_the_axes_before_a_params_own_are_controls():
    controls = weights.weights.controls(TWO)
    assert {name: control.high for name, control in controls.items() if name != "param"} == {"layer": 1, "head": 1}
    assert controls["param"].options == list(TWO.shapes) and set(TWO.shapes) == set(TWO.params)
    image, values = weights.weights.pictures(TWO, param="W_Q", layer=1, head=0)
    np.testing.assert_array_equal(image.values, TWO.params["W_Q"][1, 0])
    assert image.title == "W_Q, layer 1, head 0: 8 × 4" and image.colours == "symmetric" and image.limit is None
    np.testing.assert_allclose(values.heights, np.linalg.svd(TWO.params["W_Q"][1, 0])[1], rtol=1e-5)
    (bars,) = weights.weights.pictures(TWO, param="b_in", layer=1, head=1)  # which it has none of
    np.testing.assert_array_equal(bars.heights, TWO.params["b_in"][1])
    assert bars.title.startswith("b_in, layer 1: 12 entries, norm ")
    assert isinstance(weights.weights.pictures(TWO, param="W_E")[0], Heatmap)


def test_pictures_keep_their_form_over_steps():
    for name in TWO.shapes:
        drawn = [weights.weights.pictures(at(TWO.recording, point), param=name) for point in (0, 1)]
        assert forms(drawn[0]) == forms(drawn[1])


def test_operands_and_features_have_axes_that_no_field_of_the_net_names():
    net = Net.of(ModularMLP, d_vocab=6, d_vocab_out=6, d_model=4, d_mlp=3)
    config = CONFIG.replace(net=net)
    moment = at(recording(config, [started(config)]))
    assert set(weights.weights.controls(moment)) == {"param", "axis_0"}
    image, _ = weights.weights.pictures(moment, param="W_E", axis_0=1)
    np.testing.assert_array_equal(image.values, moment.params["W_E"][1])
    toy = Config(SparseFeatures(n_features=4), Net.of(ToyModel, n_features=4, n_hidden=2), Adam())
    assert weights.weights.lacks(at(recording(toy, [started(toy)]))) == ""


def test_a_rotation_has_equal_singular_values_and_a_handbuilt_embedding_ones():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    _, values = weights.weights.pictures(arrays({"W": 3 * turn}), param="W")
    np.testing.assert_allclose(values.heights, [3, 3], rtol=1e-6)
    assert values.title == "Singular values; Frobenius norm 4.24"  # 3 √2
    config = Config(None, Net.of(InductionMachine), None)
    moment = at(recording(config, [started(config)]))
    _, values = weights.weights.pictures(moment, param="W_E")  # one-hot tokens
    np.testing.assert_allclose(values.heights, np.ones(13), rtol=1e-6)


@pytest.mark.parametrize(("shape", "cells"), [((1025, 3), (342, 3)), ((700, 1300), (350, 434))])
def test_a_large_matrix_is_averaged_in_blocks_and_says_so(shape, cells):
    W = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    image, _ = weights.weights.pictures(arrays({"W": W}), param="W")
    n, m = (-(-size // 512) for size in shape)
    assert image.values.shape == cells and image.title.endswith(f"means of {n} × {m}")
    close = {"atol": 1e-5}  # sums of at most 6 numbers of size 4, in another order
    np.testing.assert_allclose(image.values[1, 1], W[n : 2 * n, m : 2 * m].mean(), **close)
    np.testing.assert_allclose(image.values[-1, -1], W[n * (cells[0] - 1) :, m * (cells[1] - 1) :].mean(), **close)
    assert image.rows[1] == str(n) and image.columns[-1] == str(m * (cells[1] - 1))


def test_more_singular_values_than_a_frame_has_time_for_are_not_computed():
    _, values = weights.weights.pictures(arrays({"W": np.ones((1030, 1030))}), param="W")
    assert np.isnan(values.heights).all() and values.title.endswith("beyond 1,024 values not computed")


def test_a_diverged_run_keeps_its_nan():
    broken = {name: np.full_like(x, np.nan) for name, x in TWO.params.items()}
    made = recording(CONFIG, [started(CONFIG), broken])
    for param in made.shapes[0]:
        drawn = weights.weights.pictures(at(made), param=param)
        assert forms(drawn) == forms(weights.weights.pictures(at(made, 0), param=param))
        assert all(np.isnan(getattr(one, "values", getattr(one, "heights", None))).all() for one in drawn)
    assert np.isnan(weights.norms.pictures(at(made))[0].heights).all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"param": "W_X"}, "param is 'W_X': it must be one of "),
        ({"param": "W_Q", "layr": 1}, "layr: the axes are head, layer."),
        ({"param": "W_Q", "layer": 2}, "layer is 2: W_Q has 2 along it, so it must be a whole number from 0 to 1."),
        ({"param": "W_Q", "head": -1}, "head is -1: W_Q has 2 along it"),
        ({"param": "W_Q", "head": 0.5}, "head is 0.5: W_Q has 2 along it"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(values, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        weights.weights.pictures(TWO, **values)


def test_norms_are_lines_where_they_are_measured_and_else_bars_at_the_step():
    (bars,) = weights.norms.pictures(TWO)
    exact = of_params.weight_norms(TWO.params)
    np.testing.assert_allclose(bars.heights, [float(exact[name]) for name in bars.names], rtol=1e-5)
    assert set(bars.names) == {*TWO.shapes, "total"}
    measured = {"weights/norm/W": np.array([1.0, 2]), "weights/norm/total": np.array([3.0, 4]), "loss": np.zeros(2)}
    moment = arrays(measures=measured)
    assert weights.norms.lacks(moment) == "" and weights.weights.lacks(moment) == WHY
    (lines,) = weights.norms.pictures(moment)
    assert isinstance(lines, Lines) and lines.lines["W"].tolist() == [1, 2] and list(lines.lines) == ["W", "total"]
    with pytest.raises(ValueError, match="A param is itself named total"):
        weights.norms.pictures(arrays({"total": np.ones((2, 2))}))


def test_complex_weights_are_refused_and_have_norms():
    moment = arrays({"W": np.array([[3, 4j]])})
    with pytest.raises(ValueError, match="W is complex: a heat map shows real numbers"):
        weights.weights.pictures(moment, param="W")
    assert weights.norms.pictures(moment)[0].heights.tolist() == [5, 5]


def test_scalars_and_empty_arrays():
    moment = arrays({"empty": np.ones((0, 3)), "scale": np.float32(2.5), "W": np.ones((2, 3), np.int32)})
    assert weights.weights.controls(moment)["param"].options == ["scale", "W"]
    assert first(weights.weights, moment) == {"param": "scale"}
    (bars,) = weights.weights.pictures(moment, param="scale")
    assert isinstance(bars, Bars) and bars.heights.tolist() == [2.5]
    with pytest.raises(ValueError, match="param is 'empty'"):
        weights.weights.pictures(moment, param="empty")
    assert weights.weights.lacks(arrays()) == WHY
