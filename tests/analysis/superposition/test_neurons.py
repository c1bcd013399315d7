"""Neurons of hand-built networks: canonical scale, features, blocks, the asymmetric motif."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.superposition import neurons

RNG = np.random.default_rng(0)
ABSOLUTE_IN = np.kron(np.eye(3), [[1.0, -1.0]])  # [3, 6]: |x| = ReLU(x) + ReLU(−x)
ABSOLUTE_OUT = np.kron(np.eye(3), [[1.0, 1.0]])

# Elhage et al. 2022: features a, b; neuron 0 serves a > 0 and b < 0, and neuron 1, which a > 0 excites, holds b down.
MOTIF_IN = np.array([[2.0, 1.0], [-0.5, 0.0]])
MOTIF_OUT = np.array([[0.5, 0.0], [2.0, -4.0]])


def output(W_in, W_out, x):
    return np.maximum(x @ W_in, 0) @ W_out.T


def test_the_canonical_scale_computes_the_same_and_its_largest_weight_is_1():
    W_in, W_out = RNG.normal(size=(2, 4, 7))
    W_in[:, 3] = 0
    with jax.enable_x64():
        canonical = [np.asarray(w) for w in neurons.rescaled(W_in, W_out)]
    x = RNG.normal(size=(50, 4))
    np.testing.assert_allclose(output(*canonical, x), output(W_in, W_out, x), atol=1e-12)
    np.testing.assert_allclose(np.abs(canonical[0]).max(0), [1, 1, 1, 0, 1, 1, 1], atol=1e-12)


@pytest.mark.usefixtures("float16")
def test_the_absolute_value_has_two_neurons_a_feature():
    scale = RNG.uniform(0.1, 10, 6)
    found = neurons.census({"W_in": jnp.array(ABSOLUTE_IN * scale), "W_out": jnp.array(ABSOLUTE_OUT / scale)}, None)
    np.testing.assert_allclose(found["W_in"], ABSOLUTE_IN, atol=1e-3)
    np.testing.assert_array_equal(found["count"], 1)
    assert found["alive"].all() and found["polysemantic"] == 0 and not found["motif"].any()


@pytest.mark.usefixtures("float16")
def test_a_neuron_without_weights_is_dead_and_not_counted():
    W = jnp.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.9], [0.0, 0.0, 0.0]])
    for found in (neurons.census({"W_in": W, "W_out": W}, None), neurons.tied_census({"W": W}, None)):
        np.testing.assert_array_equal(found["count"], [1, 0, 2])
        assert found["polysemantic"] == 0.5
    assert np.isnan(neurons.polysemantic_share(np.zeros((2, 3), bool), np.zeros(3, bool)))


@pytest.mark.usefixtures("float16")
def test_of_a_tied_model_only_what_excites_a_neuron_counts():
    W = jnp.array([[1.0, -3.0], [0.8, 0.3], [-2.0, 1.0], [0.4, 0.0]])
    found = neurons.tied_census({"W": W}, None)
    np.testing.assert_array_equal(found["excites"], [[True, False], [True, False], [False, True], [False, False]])
    np.testing.assert_array_equal(found["count"], [2, 1])
    np.testing.assert_array_equal(found["block_features"], [2, 1])
    np.testing.assert_array_equal(found["block_neurons"], [1, 1])
    assert found["polysemantic"] == 0.5


def test_a_feature_below_half_of_the_largest_is_not_the_neurons():
    np.testing.assert_array_equal(neurons.held([[-2.0], [1.01], [0.99]])[:, 0], [True, True, False])


def test_blocks_join_neurons_through_features_that_they_share():
    features = np.zeros((9, 7), bool)
    for neuron, own in enumerate([(0,), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), ()]):
        features[list(own), neuron] = True
    of_features, of_neurons = neurons.blocks(features)
    np.testing.assert_array_equal(of_features, [1, 5, 5, 5, 5, 2, 0])
    np.testing.assert_array_equal(of_neurons, [1, 4, 4, 4, 4, 1, 1])
    order = RNG.permutation(7)
    np.testing.assert_array_equal(neurons.blocks(np.stack([features, features[:, order]]))[0][1], of_features[order])


def test_a_long_chain_is_one_block():
    features = np.eye(40, dtype=bool) | np.eye(40, k=1, dtype=bool)
    assert (np.asarray(neurons.blocks(features)) == 40).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_the_asymmetric_motif_is_found_at_any_scale_and_sign(sign, scale):
    found = neurons.asymmetric(jnp.array(sign * scale * MOTIF_IN), jnp.array(MOTIF_OUT / scale))
    np.testing.assert_array_equal(found[0], [True, False])
    np.testing.assert_array_equal(found[1], [True, False])


def without(W_in=(), W_out=()):
    """The motif with some weights changed: (row, column, value) each."""
    changed = MOTIF_IN.copy(), MOTIF_OUT.copy()
    for matrix, changes in zip(changed, (W_in, W_out), strict=True):
        for row, column, value in changes:
            matrix[row, column] = value
    return neurons.asymmetric(*map(jnp.array, changed))


def test_each_condition_of_the_motif_is_needed():
    assert not without(W_in=[(1, 0, 0.5)])[0].any()  # the same sign
    assert not without(W_in=[(0, 0, 0.8)], W_out=[(0, 0, 1.25)])[0].any()  # nearly even on the way in
    assert not without(W_out=[(0, 0, -0.5)])[0].any()  # a is taken away, not passed on
    assert not without(W_out=[(1, 0, 0.9)])[0].any()  # b is passed less than half as well as a


def test_inhibition_is_by_neurons_that_the_strong_feature_excites():
    assert without(W_out=[(1, 1, -2.1)])[1].any() and not without(W_out=[(1, 1, -1.9)])[1].any()
    assert without(W_in=[(0, 1, -1.0)])[0].any() and not without(W_in=[(0, 1, -1.0)])[1].any()


@pytest.mark.slow
def test_batch_axes_in_front_change_nothing():
    W_in, W_out = RNG.normal(size=(2, 3, 2, 6, 5))
    motif, inhibited = neurons.asymmetric(W_in, W_out)
    assert motif.shape == inhibited.shape == (3, 2, 5)
    np.testing.assert_array_equal(motif[2, 1], neurons.asymmetric(W_in[2, 1], W_out[2, 1])[0])
    np.testing.assert_allclose(neurons.rescaled(W_in, W_out)[1][1, 0], neurons.rescaled(W_in[1, 0], W_out[1, 0])[1])


def test_matrices_of_different_shapes_are_refused():
    with pytest.raises(
        ValueError, match=r"^W_out has shape \(2, 3\) .* with n_features = 3 and n_neurons = 2 as in W_in$"
    ):
        neurons.rescaled(np.ones((3, 2)), np.ones((2, 3)))


def test_sets_of_neurons_of_their_own_are_counted_once():
    """Features on neurons 01, 01, 12, 2 and none; and three features on one pair."""
    excites = np.array(
        [[[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0]], [[1, 0, 1]] * 3 + [[0, 0, 0]] * 2], bool
    )
    assert neurons.n_own_sets(excites).tolist() == [2, 1]
    assert neurons.n_own_sets(excites[0], 1) == 1


def test_an_absolute_value_has_a_neuron_of_either_sign():
    assert np.asarray(neurons.both_signs(ABSOLUTE_IN)).all()
    broken = ABSOLUTE_IN.copy()
    broken[0, 1] = 1  # two neurons of one sign
    assert np.asarray(neurons.both_signs(broken)).tolist() == [False, True, True]


def test_the_motif_is_found_with_the_neuron_that_holds_it_down():
    inhibited = np.asarray(neurons.asymmetric(jnp.asarray(MOTIF_IN), jnp.asarray(MOTIF_OUT))[1])
    (a, b), (neuron, other) = neurons.motif(MOTIF_IN, MOTIF_OUT, inhibited, others=1)
    assert (a, b, neuron, other) == (0, 1, 0, 1)
    by = np.array([1, 0])  # other names of the features and neurons
    (a, b), (neuron, other) = neurons.motif(MOTIF_IN[by][:, by], MOTIF_OUT[by][:, by], inhibited[by], others=1)
    assert (a, b, neuron, other) == (1, 0, 1, 0)
