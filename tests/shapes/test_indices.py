"""Tokens and labels that no table has: refused where known, nan under jit; never another row's numbers."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis import probes, representation
from toylab.analysis.attention import subcircuits
from toylab.analysis.attention.token_losses import per_token_loss
from toylab.analysis.modular import progress
from toylab.losses import cross_entropy, naive_cross_entropy
from toylab.models import BiasedTransformer, Histogram, ModularMLP, Net, PizzaLinear, PizzaTransformer, Transformer
from toylab.shapes.indices import check_range, nan_outside
from toylab.tasks import predictors
from toylab.tasks.hidden_markov_limits import belief_states, probability
from toylab.tasks.hmm import mess3
from toylab.tasks.markov import rows_of

RNG = np.random.default_rng(0)
SIZES = {"d_vocab": 3, "d_vocab_out": 3, "n_ctx": 3, "d_model": 4, "n_heads": 2, "d_mlp": 4}
PAIRS = {"d_vocab": 3, "d_vocab_out": 3, "d_model": 4, "d_mlp": 4}
NETS = {
    "transformer": Net.of(Transformer, **SIZES),
    "every position": Net.of(Transformer, **SIZES, readout="all"),
    "not causal": Net.of(Transformer, **SIZES, readout="all", causal=False, layer_norm=True),
    "shortformer": Net.of(Transformer, **SIZES, readout="all", positions="shortformer"),
    "one head": Net.of(Transformer, **{**SIZES, "n_heads": 1}, positions="none"),
    "biased": Net.of(BiasedTransformer, **SIZES),
    "pizza": Net.of(PizzaTransformer, **SIZES, attention_rate=0.0),
    "written by hand": Net.of(Histogram, d_vocab=3, n_ctx=3),
    "MLP": Net.of(ModularMLP, **PAIRS),
    "MLP of one table": Net.of(ModularMLP, **PAIRS, embedding="shared", activation="quadratic"),
    "linear": Net.of(PizzaLinear, **PAIRS, kind="delta"),
    "linear of two layers": Net.of(PizzaLinear, **PAIRS, kind="beta"),
}


@pytest.mark.parametrize("index", [7, -1, -100, 2**31 - 1, 2**32 + 3])
def test_a_known_number_outside_is_refused_in_one_sentence(index):
    with pytest.raises(ValueError, match=rf"^tokens has {index}: W_E has 7 rows, so it must lie between 0 and 6\.$"):
        check_range("tokens", np.array([[0, 6], [3, index]]), 7, "W_E", "rows")


def test_known_numbers_inside_and_none_pass():
    check_range("tokens", np.arange(7, dtype=np.uint8), 300, "W_E", "rows")
    check_range("tokens", np.zeros((0, 3), int), 7, "W_E", "rows")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("n", [3, 127, 128, 256, 40_000])
def test_under_jit_only_what_lies_outside_is_nan(dtype, n):
    index = np.array([0, 2, n - 1, n, -1, np.iinfo(dtype).min, np.iinfo(dtype).max])
    index = index[(index >= np.iinfo(dtype).min) & (index <= np.iinfo(dtype).max)].astype(dtype)
    found = jax.jit(lambda index: nan_outside(jnp.ones((len(index), 2)), index, n))(index)
    outside = (index.astype(int) < 0) | (index.astype(int) >= n)
    np.testing.assert_array_equal(np.isnan(found), np.repeat(outside[:, None], 2, axis=1))


def batch(net):
    """Tokens [24, n] all of which are known, so many that the fast path takes its tables."""
    return RNG.integers(0, 3, (24, 2 if net.module in (ModularMLP, PizzaLinear) else 3))


@pytest.mark.parametrize("wrong", [3, 99, -1, -100])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_no_network_takes_a_known_token_beyond_its_table(name, full, wrong):
    net, tokens = NETS[name], batch(NETS[name])
    tokens[5, 1] = wrong
    with pytest.raises(ValueError, match=rf"^tokens has {wrong}: W_E has 3 rows, so it must lie between 0 and 2\.$"):
        net.apply(net.init(jax.random.key(0)), tokens, full=full)


@pytest.mark.parametrize("name", NETS)
def test_under_jit_the_logits_of_such_a_token_are_nan_and_all_others_what_they_were(name):
    net, tokens = NETS[name], batch(NETS[name])
    params = net.init(jax.random.key(0))
    wrong = tokens.copy()
    wrong[[1, 2, 3], [0, 1, 1]] = 3, -1, -100

    @jax.jit
    def both(tokens):
        return [net.apply(params, tokens, full=full)[0].reshape(len(tokens), -1) for full in (True, False)]

    for right, ours in zip(both(tokens), both(wrong), strict=True):
        assert np.isnan(ours[1:4]).any(axis=1).all() and np.isnan(ours[1:4, -3:]).all()  # the last position's
        np.testing.assert_array_equal(np.delete(ours, [1, 2, 3], axis=0), np.delete(right, [1, 2, 3], axis=0))


def test_equals_is_no_token_to_networks_of_pairs():
    for name in ("MLP", "linear"):
        net = NETS[name]
        params, pairs = net.init(jax.random.key(0)), batch(net)
        with_equals = np.concatenate([pairs, np.full((24, 1), 3)], axis=1)
        np.testing.assert_array_equal(net.apply(params, with_equals)[0], net.apply(params, pairs)[0])


LOGITS = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
CUBE, KEY = RNG.normal(size=(3, 3, 3)), np.array([False, True])
T = mess3()
OF_LABELS = {  # a function of labels [4] of 3 classes
    "cross_entropy": lambda y: cross_entropy(LOGITS, jnp.asarray(y)),
    "naive_cross_entropy": lambda y: naive_cross_entropy(LOGITS, jnp.asarray(y)),
    "its gradient": lambda y: jax.grad(lambda z: cross_entropy(z, jnp.asarray(y)).sum())(LOGITS).sum(axis=1),
    "per_token_loss": lambda y: per_token_loss(LOGITS[None], jnp.concatenate([jnp.zeros(1, int), y])[None]),
    "restricted_loss": lambda y: progress.restricted_loss(CUBE, jnp.broadcast_to(jnp.asarray(y)[:3], (3, 3)), KEY),
    "excluded_loss": lambda y: progress.excluded_loss(
        CUBE, jnp.broadcast_to(jnp.asarray(y)[:3], (3, 3)), KEY, np.ones((3, 3), bool)
    )["all"],
    "probes.logistic": lambda y: probes.logistic(LOGITS, y, 3, steps=2).weights,
    "probes.accuracy": lambda y: probes.accuracy(LOGITS, y),
    "subcircuits.accuracy": lambda y: subcircuits.accuracy(LOGITS, y),
    "probe_accuracies": lambda y: representation.probe_accuracies(LOGITS, y, 3),
    "neural_collapse": lambda y: representation.neural_collapse(LOGITS, y, jnp.eye(3)).nc1,
    "induction_strength": lambda y: subcircuits.induction_strength(jnp.ones((4, 2, 3, 3)) / 3, y, 0 * y),
    "unigram": lambda y: predictors.unigram(jnp.asarray(y)[None], 3),
    "bigram": lambda y: predictors.bigram(jnp.asarray(y)[None], 3),
    "rows_of": lambda y: rows_of(jnp.ones((1, 3, 3)) / 3, jnp.asarray(y)[None]),
    "belief_states": lambda y: belief_states(jnp.asarray(T), jnp.asarray(y)[None]),
    "probability": lambda y: probability(jnp.asarray(T), jnp.asarray(y)[None]),
}


@pytest.mark.parametrize("wrong", [3, -1, -100])
@pytest.mark.parametrize("name", OF_LABELS)
def test_labels_out_of_range_are_refused_and_nan_under_jit(name, wrong):
    call, labels = OF_LABELS[name], np.array([0, wrong, 2, 1])
    with pytest.raises(ValueError) as error:
        call(labels)
    assert re.search(rf"has {wrong}: .* has 3 \w+, so it must lie between 0 and 2\.$", str(error.value))
    inside = jax.jit(call)
    assert np.isnan(inside(jnp.asarray(labels))).any()
    assert np.isfinite(inside(jnp.array([0, 1, 2, 1]))).all()


def test_a_label_outside_makes_no_other_examples_loss_nan():
    loss = jax.jit(cross_entropy)(LOGITS, jnp.array([0, 3, 2, -100]))
    np.testing.assert_array_equal(np.isnan(loss), [False, True, False, True])
    slope = jax.jit(jax.grad(lambda z: jnp.nansum(cross_entropy(z, jnp.array([0, 1, 2, 1])))))(LOGITS)
    assert np.isfinite(slope).all()
