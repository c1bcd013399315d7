"""Attention summarised: loops that say the same, even attention in closed form, and heads built by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention import attended
from toylab.base import Config, Run
from toylab.models import FractionOfPrevious, InductionMachine, Net


def some(seed=0, shape=(2, 3, 2, 5, 5)):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])


def test_offsets_are_diagonals():
    A = some()
    found = attended.attention_by_offset(A)
    wanted = np.stack([np.diagonal(A, -o, -2, -1).mean(-1) for o in range(5)], -1)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    even = attended.attention_by_offset(attended.even_pattern(5))
    harmonic = [np.mean([1 / (t + 1) for t in range(o, 5)]) for o in range(5)]
    np.testing.assert_allclose(even, harmonic, atol=1e-6)


def test_classes_are_sums_of_rows():
    A, classes = some(), np.random.default_rng(1).integers(0, 3, (3, 5))
    found = np.asarray(attended.class_attention(A, classes, 4))
    for i in range(3):
        rows = [A[:, b, :, t] for b in range(3) for t in range(5) if classes[b, t] == i]  # each [L, H, T]
        of = [classes[b] for b in range(3) for t in range(5) if classes[b, t] == i]
        for j in range(4):
            wanted = np.mean([row[..., own == j].sum(-1) for row, own in zip(rows, of, strict=True)], 0)
            np.testing.assert_allclose(found[..., i, j], wanted, atol=1e-6)
    np.testing.assert_allclose(found[..., :3, :].sum(-1), 1, atol=1e-6)
    assert np.isnan(found[..., 3, :]).all()


def test_the_same_token_is_an_earlier_one():
    A, tokens = some(), np.random.default_rng(2).integers(0, 3, (3, 5))
    sums = [
        [A[:, b, :, t, s].copy() for s in range(t) if tokens[b, s] == tokens[b, t]] for b in range(3) for t in range(5)
    ]
    wanted = np.mean([np.sum(one, 0) for one in sums if one], 0)
    np.testing.assert_allclose(attended.same_token_score(A, tokens), wanted, atol=1e-6)
    assert np.isnan(attended.same_token_score(A, np.tile(np.arange(5), (3, 1)))).all()


def test_hand_built_heads():
    """Head 0.0 of the induction machine attends to the token before, head 1.0 of the other evenly to all up to its own."""
    net = Net.of(InductionMachine, d_vocab=7, n_ctx=7)
    tokens = jnp.array([[6, 0, 3, 1, 0, 3, 1, 0]])
    found = attended.attention_summary(net.init(jax.random.key(0)), Run(Config(None, net, None), {"tokens": tokens}))
    np.testing.assert_allclose(
        found["offset"][0, 0], [1 / 7, 1, 0, 0, 0, 0, 0], atol=1e-6
    )  # the first has itself alone
    assert abs(found["previous"][0, 0] - 1) < 1e-6 and found["same_token"][0, 0] < 1e-6
    assert abs(found["after_same_token"][1, 0] - 1) < 1e-6
    net = Net.of(FractionOfPrevious, n_ctx=6)
    pattern = net.apply(net.init(jax.random.key(0)), jnp.array([[0, 1, 2, 3, 0, 1]]))[1]["pattern"]
    np.testing.assert_allclose(pattern[1, 0, 0], attended.even_pattern(6), atol=1e-6)
    np.testing.assert_allclose(attended.even_pattern(4, causal=False), 0.25)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="classes has 4: n_classes has 4 classes, so it must lie between 0 and 3"):
        attended.class_attention(some(), np.full((3, 5), 4), 4)
    with pytest.raises(ValueError, match="n is 0: it must be at least 1"):
        attended.even_pattern(0)
    with pytest.raises(ValueError, match="at least one position"):
        attended.attention_by_offset(np.ones((2, 0, 0)))
    jitted = jax.jit(lambda classes: attended.class_attention(some(), classes, 4))
    assert np.isnan(jitted(np.full((3, 5), 4))).all()
