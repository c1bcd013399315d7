"""Counts of collisions, sparsity and monosemantic neurons on weights whose answers are known; the decoder and its start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.superposition import polysemanticity
from toylab.base import Config, Run
from toylab.models import FeatureDecoder, Net, ToyModel
from toylab.models.decoder import unit_embedding
from toylab.optim import SGD
from toylab.tasks import OneHotFeatures

KEY = jax.random.key(0)


def test_a_neuron_is_polysemantic_from_two_strong_features_on():
    W = jnp.array([[1.0, 0.0, 0.9, 0.0], [-0.8, 0.7, 0.0, 0.0], [0.0, 1.3, 1.0, 1.2], [0.1, 1.0, -1.0, 0.0]])
    np.testing.assert_array_equal(polysemanticity.strong_features(W), [2, 1, 3, 1])
    assert polysemanticity.polysemantic_neurons(W) == 2
    batch = jnp.stack([W, jnp.eye(4), jnp.zeros((4, 4))])
    np.testing.assert_array_equal(polysemanticity.polysemantic_neurons(batch), [2, 0, 0])
    found = polysemanticity.collisions({"W": W}, None)
    assert found["polysemantic"] == 2 and found["on_one_neuron"] == 1 / 4


def test_expected_collisions_are_those_of_features_thrown_on_neurons():
    """Half the neurons that are hit twice or more, counted over 20,000 throws, and the values of the catalogue."""
    n, m, throws = 6, 9, 20_000
    where = np.random.default_rng(0).integers(0, m, size=(throws, n))
    hit = (where[:, :, None] == np.arange(m)).sum(axis=1)
    found = 0.5 * (hit >= 2).sum(axis=1)
    expected = float(polysemanticity.expected_collisions(n, m))
    assert abs(expected - found.mean()) < 4 * found.std() / throws**0.5
    many = polysemanticity.expected_collisions(64, jnp.array([128, 512]))
    np.testing.assert_allclose(many, [5.73, 1.82], atol=0.005)
    assert polysemanticity.expected_collisions(20, 10**6) == pytest.approx(20 * 19 / 4e6, rel=1e-3)
    of_many = polysemanticity.collisions_of_many(20, 10**6)  # n² where pairs are n (n − 1)
    assert polysemanticity.expected_collisions(20, 10**6) / of_many == pytest.approx(19 / 20, rel=1e-3)
    assert polysemanticity.expected_collisions(1, 5) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (5, [3, 0])])
def test_no_features_or_neurons_are_refused(n, m):
    with pytest.raises(ValueError, match=r"both must be at least 1\.$"):
        polysemanticity.expected_collisions(n, m)


def test_the_fourth_norm_tells_one_neuron_from_many():
    m = 4096
    W = jnp.stack([jnp.zeros(m).at[3].set(-1.0), jnp.full(m, m**-0.5), jax.random.normal(KEY, (m,)) / m**0.5])
    one, even, random = polysemanticity.fourth_norm(W)
    assert one == 1 and even == pytest.approx(1 / m, rel=1e-5) and random == pytest.approx(3 / m, rel=0.15)
    assert polysemanticity.fourth_norms({"W": W}, None)["mean"] == pytest.approx(
        float(one + even + random) / 3, rel=1e-5
    )


def test_monosemanticity_is_the_share_of_the_strongest_feature():
    a = jnp.array([[2.0, 1.0, 0.0, 0.999], [0.0, 1.0, 0.0, 0.0005], [0.0, 2.0, 0.0, 0.0005]])
    np.testing.assert_allclose(polysemanticity.monosemanticity(a), [1, 0.5, 0, 0.999], rtol=1e-6)
    np.testing.assert_allclose(polysemanticity.monosemanticity(jnp.stack([a, 3 * a]))[1], [1, 0.5, 0, 0.999], rtol=1e-6)


def test_an_allocation_is_told_in_a_few_numbers():
    C = np.array([[1.0, 0.96, 0.02, 0.01], [1, 0.5, 0.49, 0], [0.6, 0.5, 0.4, 0.5]])
    found = polysemanticity.allocation(C, 2)
    for name, value in {"spent": 1.99 / 2, "kept": 0.96, "ignored": 0.02, "sharing": 1}.items():
        assert found[name] == pytest.approx(value), name
    assert found["ordered"] == pytest.approx((1 + 1 + 3 / 10**0.5 / 1.5) / 3)  # ranks 4, 2.5, 1, 2.5 beside 1 to 4
    assert polysemanticity.allocation(C, 2, low=0.005)["sharing"] == pytest.approx(0.5)  # 3, 2 and 4 share
    several = polysemanticity.allocation(np.stack([C, C[::-1]]), 2)
    np.testing.assert_allclose(several["kept"], [0.96, 0.5])
    np.testing.assert_allclose(several["sharing"], [1, -1])


def by_hand(bias):
    """Three features on three orthogonal directions; two neurons for one feature each, one for all, one dead."""
    W_in = jnp.array([[1.0, 0.0, 1.0, -1.0], [0.0, 1.0, 1.0, -1.0], [0.0, 0.0, 1.0, -1.0]])
    return {"W_E": jnp.eye(3), "W_in": W_in, "b_in": jnp.full(4, bias), "W_out": jnp.ones((4, 3))}


@pytest.mark.parametrize(("bias", "per_feature"), [(-0.5, 2 / 3), (0.01, 0), (-2.0, 0)])
def test_monosemantic_neurons_are_counted_per_feature(bias, per_feature):
    """A little bias above 0 and each neuron fires a little for every feature; far below 0 and none does."""
    found = polysemanticity.neurons(by_hand(bias), None)
    assert found["per_feature"] == pytest.approx(per_feature) and found["bias"] == pytest.approx(bias)
    expected = np.asarray(by_hand(bias)["W_in"]) + bias
    activations = polysemanticity.decoder_activations(by_hand(bias))
    np.testing.assert_allclose(activations, np.maximum(expected, 0), atol=1e-7)


def test_weights_left_are_those_out_of_reach_of_two_steps():
    task = OneHotFeatures(n_features=1, values="one", over_points="sum", l1=4e-4)
    config = Config(task, Net.of(ToyModel, n_features=1, n_hidden=4, bias=False), SGD(lr=0.125))
    W = jnp.array([[2e-4, -0.5, 0.9e-4, -0.2e-4]])
    found = polysemanticity.sparsity({"W": W}, Run(config=config, data={}))
    assert found["left"] == 2 and found["l1_norm"] == pytest.approx(0.5002, rel=1e-6)


# --- the loss that is a sum over features, and the dynamics it gives


def test_summed_over_points_every_feature_has_a_loss_of_its_own():
    net = Net.of(ToyModel, n_features=5, n_hidden=3, bias=False)
    params = net.init(KEY)
    mean = OneHotFeatures(n_features=5, values="one", l1=0.1)
    each, tax = float(mean.replace(l1=0.0).loss(net.apply, params, {}, KEY)), 0.1 * float(np.abs(params["W"]).sum())
    total = mean.replace(over_points="sum").loss(net.apply, params, {}, KEY)
    assert total == pytest.approx(5 * each + tax, rel=1e-5)
    assert mean.loss(net.apply, params, {}, KEY) == pytest.approx(each + tax, rel=1e-5)


@pytest.mark.slow
def test_a_lone_feature_follows_the_l1_dynamics():
    """−∇ of its loss is 4 [(1 − ‖w‖²) w − λ sign w] (Lecomte et al. 2023), for l1 = 4 λ."""
    net = Net.of(ToyModel, n_features=1, n_hidden=6, bias=False)
    w = 0.3 * jax.random.normal(KEY, (1, 6))
    task = OneHotFeatures(n_features=1, values="one", over_points="sum", l1=4 * 0.01)
    slope = jax.grad(lambda w: task.loss(net.apply, {"W": w}, {}, KEY))(w)
    np.testing.assert_allclose(-slope, 4 * ((1 - (w**2).sum()) * w - 0.01 * jnp.sign(w)), rtol=1e-5)


def test_the_l1_norm_falls_at_the_rate_of_its_square():
    """d‖w‖₁/dt = −λ ‖w‖₁²: m weights alike of ‖w‖² = 1 are 1/√m each, and all of them lose λ."""
    time = np.linspace(0, 50, 2001)
    norm = polysemanticity.l1_decay(time, start=10.0, rate=0.02)
    assert norm[0] == 10
    np.testing.assert_allclose(np.gradient(norm, time)[1:-1], -0.02 * norm[1:-1] ** 2, rtol=1e-3)


# --- the feature decoder


DECODER = Net.of(FeatureDecoder, n_features=9, n_hidden=4, d_mlp=7, init_bias=-1.0)


def test_the_decoder_is_its_formula():
    params = DECODER.check().init(KEY)
    x = np.random.default_rng(0).random((5, 9)).astype(np.float32)
    W_E, W_in, b_in, W_out = (np.asarray(params[name]) for name in ("W_E", "W_in", "b_in", "W_out"))
    pre = x @ W_E @ W_in + b_in
    out, cache = DECODER.apply(params, jnp.asarray(x))
    np.testing.assert_allclose(out, np.maximum(pre, 0) @ W_out, atol=1e-6)
    np.testing.assert_allclose(cache["mlp_pre"][0], pre, atol=1e-6)
    np.testing.assert_allclose(cache["mlp_post"][0], np.maximum(pre, 0), atol=1e-6)
    np.testing.assert_allclose(DECODER.apply(params, jnp.asarray(x), full=False)[0], out, atol=1e-6)
    silent, _ = DECODER.apply(params, jnp.asarray(x), {"mlp_post": lambda value, layer: 0 * value})
    assert silent.shape == (5, 9) and not silent.any()
    shifted, _ = DECODER.apply(params, jnp.asarray(x), {"mlp_pre": lambda value, layer: value + 1.0})
    np.testing.assert_allclose(shifted, np.maximum(pre + 1, 0) @ W_out, atol=1e-6)


def test_the_decoder_starts_as_linear_layers_do_on_unit_embeddings():
    params = Net.of(FeatureDecoder, n_features=60, n_hidden=16, d_mlp=500, init_bias=-1.0).init(KEY)
    np.testing.assert_allclose(jnp.linalg.norm(params["W_E"], axis=1), 1, rtol=1e-5)
    for name, centre, fan in (("W_in", 0, 16), ("b_in", -1, 16), ("W_out", 0, 500)):
        bound, values = fan**-0.5, np.asarray(params[name]) - centre
        assert np.abs(values).max() <= bound * 1.0001 and np.abs(values).max() > 0.97 * bound
        assert values.std() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_embeddings_come_from_the_singular_vectors_of_the_features():
    """The columns of what they are before scaling are orthonormal: so rows scaled back by any lengths span all of them."""
    embedding = unit_embedding(KEY, 12, 3)
    assert embedding.shape == (12, 3) and np.linalg.matrix_rank(np.asarray(embedding)) == 3
    again = jnp.linalg.svd(jax.random.normal(KEY, (12, 3)), full_matrices=False)[0]
    np.testing.assert_allclose(jnp.abs((embedding * again).sum(axis=1)), jnp.linalg.norm(again, axis=1), rtol=1e-5)


def test_the_embedding_gets_no_gradient_and_all_else_does():
    params = Net.of(FeatureDecoder, n_features=9, n_hidden=4, d_mlp=7).init(KEY)
    slope = jax.grad(lambda p: (DECODER.apply(p, jnp.eye(9), full=False)[0] ** 2).sum())(params)
    assert {name for name, value in slope.items() if not value.any()} == {"W_E"}


def test_what_the_decoder_refuses():
    with pytest.raises(ValueError, match=r"^net\.n_hidden is 10: it must be at most net\.n_features = 9\.$"):
        Net.of(FeatureDecoder, n_features=9, n_hidden=10, d_mlp=7).check()
    params = DECODER.init(KEY)
    with pytest.raises(ValueError, match=r"^x has shape \(2, 4\): it must be \[batch, n_features = 9\]\.$"):
        DECODER.apply(params, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match=r"^patch names \['hidden'\]: the activations are mlp_pre, mlp_post\.$"):
        DECODER.apply(params, jnp.eye(9), {"hidden": lambda value, layer: value})
