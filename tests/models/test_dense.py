"""Dense and diagonal networks, and factors of a matrix: formulas written out, starts, what does not fit."""

import jax
import numpy as np
import pytest

from toylab.models import CentredDense, Dense, DiagonalNet, FactoredMatrix, Net

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
PHI = {
    "relu": lambda h: np.maximum(h, 0), "tanh": np.tanh, "quadratic": np.square, "linear": lambda h: h,
    "bent": lambda h: h + 0.3 * h**2 / 2,
}  # fmt: skip


def made(seed=0, **fields):
    net = Net.of(Dense, **{"d_in": 5, "d_out": 3, "widths": (4, 7), **fields}).check()
    return net, net.init(jax.random.key(seed))


@pytest.mark.parametrize("activation", PHI)
def test_the_output_is_that_of_the_formula(activation):
    net, params = made(activation=activation, output_scale=2.0, bend=0.3)
    p = {name: np.float64(value) for name, value in params.items()}
    h = PHI[activation](PHI[activation](X @ p["W_0"] + p["b_0"]) @ p["W_1"] + p["b_1"])
    found, cache = net.apply(params, X)
    np.testing.assert_allclose(found, 2 * (h @ p["W_out"] + p["b_out"]), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(cache["post_1"][0], h, rtol=2e-5, atol=1e-6)
    assert net.apply(params, X, full=False)[1] == {}
    changed = net.apply(params, X, patch={"post_1": lambda h, layer: 0 * h})[0]
    np.testing.assert_allclose(changed, np.tile(2 * p["b_out"], (6, 1)), rtol=1e-6)


def test_starts():
    _, torch = made(d_in=100, widths=(200, 50), init_scale=3.0)
    for name, fan in (("W_0", 100), ("b_0", 100), ("W_1", 200), ("b_1", 200), ("W_out", 50), ("b_out", 50)):
        bound = 3 / fan**0.5
        assert np.abs(torch[name]).max() <= bound
        assert np.abs(np.std(torch[name]) / (bound / 3**0.5) - 1) < 4 / torch[name].size ** 0.5
    _, normal = made(d_in=100, widths=(200,), init="normal", init_scale=3.0)
    assert np.abs(np.std(normal["W_0"]) / 0.3 - 1) < 4 / 20_000**0.5 and not normal["b_0"].any()
    assert set(made(bias=False)[1]) == {"W_0", "W_1", "W_out"} and "b_out" not in made(output_bias=False)[1]
    assert set(made(widths=())[1]) == {"W_out", "b_out"}


def test_a_mean_readout_is_not_trained():
    net, params = made(d_out=1, widths=(8,), readout="mean", activation="bent", bias=False, output_scale=0.5)
    assert set(params) == {"W_0"}
    h = X @ np.float64(params["W_0"])
    np.testing.assert_allclose(net.apply(params, X)[0][:, 0], 0.5 * (h + h**2 / 8).mean(axis=1), rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match=r"net\.readout is 'mean': it is one output of a layer, and d_out is 3"):
        made(readout="mean")


def test_scales_are_leaves_of_one_family():
    a, b = made(init_scale=1.0)[0], made(init_scale=2.0, output_scale=3.0)[0]
    assert jax.tree.structure(a) == jax.tree.structure(b)


def test_a_centred_network_is_a_dense_one_less_its_start():
    plain, start = made(activation="tanh", output_scale=2.0)
    net = Net.of(CentredDense, d_in=5, d_out=3, widths=(4, 7), activation="tanh", output_scale=2.0).check()
    params = net.init(jax.random.key(0))
    assert set(params) == {*start, *(f"start_{name}" for name in start)}
    for name, value in start.items():  # both draw alike
        np.testing.assert_array_equal(params[name], value)
        np.testing.assert_array_equal(params[f"start_{name}"], value)
    assert not net.apply(params, X)[0].any()
    moved = {name: value if name.startswith("start_") else value + 0.1 for name, value in params.items()}
    now = {name: moved[name] for name in start}
    found, cache = net.apply(moved, X)
    np.testing.assert_array_equal(found, plain.apply(now, X)[0] - plain.apply(start, X)[0])
    np.testing.assert_array_equal(cache["post_1"], plain.apply(now, X)[1]["post_1"])
    gradient = jax.grad(lambda p: net.apply(p, X)[0].sum())(moved)
    assert all(bool(value.any()) != name.startswith("start_") for name, value in gradient.items())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"net\.widths is \(4, 0\): it must be a tuple of sizes of at least 1"):
        made(widths=(4, 0))
    net, params = made()
    with pytest.raises(ValueError, match=r"patch names \['mlp'\]: the activations are pre_0, post_0, pre_1, post_1"):
        net.apply(params, X, patch={"mlp": lambda h, layer: h})


@pytest.mark.parametrize("depth", [2, 3])
def test_a_diagonal_network_is_linear_in_its_input(depth):
    net = Net.of(DiagonalNet, d_in=5, depth=depth, alpha=4.0).check()
    params = net.init(jax.random.key(0))
    np.testing.assert_allclose(np.sqrt(sum((np.float64(w) ** 2).sum() for w in params.values())), 4, rtol=1e-6)
    assert not net.apply(params, X)[0].any()
    params = {"u": np.float32([1, 2, 0, 1, 1]), "v": np.float32([0, 1, 1, 1, 2])}
    w = params["u"] ** depth - params["v"] ** depth
    np.testing.assert_allclose(net.apply(params, X)[0], X @ w[:, None], rtol=1e-5)
    with pytest.raises(ValueError, match="a diagonal network has no activations"):
        net.apply(params, X, patch={"pre_0": lambda h, layer: h})


def test_entries_of_a_matrix_of_factors():
    net = Net.of(FactoredMatrix, d=4, alpha=3.0).check()
    params = net.init(jax.random.key(0))
    np.testing.assert_array_equal(params["U"], 3 * np.eye(4))
    places = np.array([[0, 3], [3, 0], [2, 2]])
    assert not net.apply(params, places)[0].any()
    params = {name: np.random.default_rng(i).normal(size=(4, 4)).astype(np.float32) for i, name in enumerate("UV")}
    matrix = params["U"] @ params["U"].T - params["V"] @ params["V"].T
    np.testing.assert_allclose(net.apply(params, places)[0][:, 0], matrix[places[:, 0], places[:, 1]], rtol=1e-5)


def test_places_outside_a_matrix_are_none():
    net = Net.of(FactoredMatrix, d=4)
    params = net.init(jax.random.key(0))
    with pytest.raises(ValueError, match="places has 4: the matrix has 4 rows, so it must lie between 0 and 3"):
        net.apply(params, np.array([[0, 4]]))
    np.testing.assert_array_equal(
        np.isnan(jax.jit(net.apply)(params, np.array([[0, 4], [0, 1]]))[0][:, 0]), [True, False]
    )
    with pytest.raises(ValueError, match=r"net\.d is 0: it must be at least 1"):
        Net.of(FactoredMatrix, d=0).check()
    with pytest.raises(ValueError, match="a matrix of factors has no activations"):
        net.apply(params, np.array([[0, 1]]), patch={"pre": lambda h, layer: h})
