"""A fixed sample: drawn once, of unit length; its loss and gradient taken block by block are those of the plain form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.superposition import geometry
from toylab.base import Config, Run
from toylab.models import Net, ToyModel
from toylab.optim import AdamW
from toylab.tasks import FixedSample
from toylab.tasks.sample import BLOCK, summed_over_blocks

KEY = jax.random.key(0)
NET = Net.of(ToyModel, n_features=30, n_hidden=2, init_std=0.4, bias_std=0.1)


def plain(params, x):
    """mean over points of Σ_i (x_i − ReLU(W Wᵀ x + b)_i)², for x [n_features, B], written as in the paper."""
    out = jax.nn.relu(params["W"] @ (params["W"].T @ x) + params["b"][:, None])
    return jnp.mean(jnp.sum((x - out) ** 2, axis=0))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5 * float(np.abs(value).max()))


def test_a_sample_is_of_unit_length_and_a_function_of_the_key():
    task = FixedSample(n_features=200, n_points=50, n_test=30, density=0.05).check()
    data = task.data(KEY)
    assert data["train"].shape == (200, 50) and data["test"].shape == (200, 30)
    np.testing.assert_allclose(np.linalg.norm(data["train"], axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(data["train"], task.data(KEY)["train"])
    assert not np.array_equal(data["train"], task.data(jax.random.key(4))["train"])
    assert not np.array_equal(data["train"][:, :30], data["test"])
    assert 0.04 < np.mean(data["train"] > 0) < 0.06


def test_a_point_without_features_stays_zero_and_costs_the_zero_model_nothing():
    task = FixedSample(n_features=2, n_points=500, n_test=400, density=0.1)
    data = task.data(KEY)
    norms = np.linalg.norm(data["test"], axis=0)
    assert (norms == 0).any() and set(np.round(norms, 5)) == {0.0, 1.0}
    net = Net.of(ToyModel, n_features=2, n_hidden=1)
    zero = jax.tree.map(jnp.zeros_like, net.init(KEY))
    assert task.measure(net.apply, zero, data)["test_loss"] == pytest.approx(np.mean(norms > 0), rel=1e-6)


@pytest.mark.parametrize("n_points", [7, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 300])
def test_loss_and_gradient_are_those_of_the_plain_form(n_points):
    task = FixedSample(n_features=30, n_points=n_points, n_test=20, density=0.1)
    params, data = NET.init(KEY), task.data(jax.random.key(1))
    apply = jax.tree_util.Partial(NET.apply, full=False)
    loss, gradient = jax.jit(jax.value_and_grad(lambda p: task.loss(apply, p, data, KEY)))(params)
    expected, slope = jax.value_and_grad(plain)(params, data["train"])
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert_same(gradient, slope)
    measured = task.measure(apply, params, data)
    assert measured["train_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert measured["test_loss"] == pytest.approx(float(plain(params, data["test"])), rel=1e-5)


@pytest.mark.slow
def test_runs_in_a_vmap_keep_their_own_sample_and_gradient():
    task = FixedSample(n_features=30, n_points=BLOCK + 50, n_test=20, density=0.1)
    keys = jax.random.split(KEY, 3)

    def gradient(density, key):
        own = task.replace(density=density)
        data = own.data(key)
        return jax.grad(lambda p: own.loss(NET.apply, p, data, key))(NET.init(key))

    densities = jnp.array([0.05, 0.1, 0.3])
    together = jax.vmap(gradient)(densities, keys)
    for i, key in enumerate(keys):
        assert_same({name: value[i] for name, value in together.items()}, gradient(densities[i], key))


def test_blocks_cover_every_column_once():
    x = jnp.arange(22.0).reshape(2, 11)
    for size in (1, 3, 4, 10, 11, 50):
        total = jax.value_and_grad(
            lambda p, size=size: summed_over_blocks(lambda p, x: jnp.sum(p["a"] * x**2), p, x, size)
        )
        value, gradient = total({"a": jnp.float32(2)})
        assert value == 2 * jnp.sum(x**2) and gradient["a"] == jnp.sum(x**2)


def test_the_gradient_of_a_multiple_is_the_multiple():
    x = jnp.arange(10.0).reshape(1, 10)
    slope = jax.grad(lambda p: 3 * summed_over_blocks(lambda p, x: jnp.sum(p["a"] * x), p, x, size=4))
    assert slope({"a": jnp.float32(1)})["a"] == 3 * 45


@pytest.mark.slow
def test_the_dimensionality_of_samples_is_that_of_their_hidden_vectors():
    task = FixedSample(n_features=30, n_points=40, n_test=5, density=0.05)
    params, data = NET.init(KEY), task.data(KEY)
    assert (np.linalg.norm(data["train"], axis=0) == 0).any()  # a point without features has none
    run = Run(config=Config(task=task, net=NET, optimizer=AdamW()), data=data)
    found = geometry.samples(params, run)
    np.testing.assert_allclose(found["hidden"], np.asarray(data["train"]).T @ params["W"], rtol=1e-5, atol=1e-6)
    with jax.enable_x64():
        h = np.float64(found["hidden"])
        exact = geometry.dimensionality(h)
        np.testing.assert_allclose(geometry.sample_dimensionality(h), exact, atol=1e-10)
    np.testing.assert_allclose(found["dimensionality"], exact, atol=1e-5)


@pytest.mark.parametrize("k", [3, 5, 8])
def test_a_polygon_of_samples_shares_two_dimensions_evenly(k):
    angle = 2 * np.pi * np.arange(k) / k
    h = 1.2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(geometry.sample_dimensionality(h), 2 / k, rtol=1e-5)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (FixedSample(n_points=0), r"^task\.n_points is 0: it must be at least 1\.$"),
        (FixedSample(n_test=0), r"^task\.n_test is 0: it must be at least 1\.$"),
        (FixedSample(density=2.0), r"^task\.density is 2\.0: it must lie in \(0, 1\]"),
        (FixedSample(density=0.0), r"^task\.density is 0\.0: it must lie in \(0, 1\]"),
    ],
)
def test_nonsense_is_refused(task, message):
    with pytest.raises(ValueError, match=message):
        task.check()
