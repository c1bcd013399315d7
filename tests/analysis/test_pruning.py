"""Subnetworks against the networks that they are, and the least of them against an exhaustive search."""

from itertools import combinations

import numpy as np
import pytest

from toylab.analysis import pruning


def network(n=30, m=6, n_outputs=3, seed=0):
    rng = np.random.default_rng(seed)
    neurons = np.maximum(rng.normal(size=(n, m)), 0).astype(np.float32)
    W_out, bias = rng.normal(size=(m, n_outputs)).astype(np.float32), rng.normal(size=n_outputs).astype(np.float32)
    return neurons, W_out, bias, rng.integers(0, max(n_outputs, 2), n)


def accuracy(neurons, W_out, bias, labels, kept):
    outputs = neurons[:, kept] @ W_out[kept] + bias
    if W_out.shape[1] == 1:
        return (outputs[:, 0] * (2 * labels - 1) > 0).mean()
    return (outputs.argmax(axis=1) == labels).mean()


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_accuracy_of_the_first_neurons_of_an_order(n_outputs):
    neurons, W_out, bias, labels = network(n_outputs=n_outputs)
    order = np.array([4, 0, 5, 1, 3, 2])
    found = pruning.kept_accuracy(neurons, W_out, labels, order, bias)
    expected = [accuracy(neurons, W_out, bias, labels, order[:k]) for k in range(7)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="order is no permutation of the 6 neurons"):
        pruning.kept_accuracy(neurons, W_out, labels, np.zeros(6, int))


def test_some_examples_count_and_neurons_are_added_several_at_a_time():
    neurons, W_out, bias, labels = network()
    order, of = np.array([4, 0, 5, 1, 3, 2]), np.arange(30) % 3 == 0
    found = pruning.kept_accuracy(neurons, W_out, labels, order, bias, of=of, every=2)
    expected = [accuracy(neurons[of], W_out, bias, labels[of], order[:k]) for k in (0, 2, 4, 6)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.isnan(pruning.kept_accuracy(neurons, W_out, labels, order, of=np.zeros(30, bool))).all()
    with pytest.raises(ValueError, match=r"^every is 4: it must divide the number of neurons, 6\.$"):
        pruning.kept_accuracy(neurons, W_out, labels, order, every=4)


@pytest.mark.parametrize("seed", range(3))
def test_the_least_number_is_that_of_a_search_where_the_order_is_the_best(seed):
    """Two neurons carry the answer, the others noise: no fewer than these do, whichever are taken."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 40)
    neurons = np.abs(rng.normal(size=(40, 6))).astype(np.float32)
    neurons[:, 0], neurons[:, 1] = labels, 1 - labels
    W_out = np.float32([[5], [-5], *[[0.01]] * 4])
    found = pruning.kept_accuracy(neurons, W_out, labels, np.argsort(-np.abs(W_out[:, 0])))
    assert found[-1] == 1
    least = min(
        k
        for k in range(7)
        for kept in combinations(range(6), k)
        if accuracy(neurons, W_out, 0, labels, list(kept)) == 1
    )
    assert pruning.least_faithful(found) == least == 2
    assert pruning.least_faithful(np.float32([[0.5, 1, 0.5, 1], [1, 1, 1, 1]])).tolist() == [1, 0]


def test_shares_of_weights():
    W_in = np.float32([[3, 0, 0], [4, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(pruning.weight_share(W_in, np.array([True, False, False])), [9 / 25, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(pruning.weight_share(1e-30 * W_in, np.array([False, True, True]))[2], 1, rtol=1e-6)
