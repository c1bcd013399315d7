"""Composition between any two layers and with embeddings: whole products, hand-built heads, and random matrices."""

from itertools import product

import jax
import numpy as np
import pytest

from toylab.analysis.attention import composition as scores
from toylab.models import InductionMachine, Net

SHAPES = {"W_E": (11, 8), "W_pos": (6, 8), "W_Q": (3, 2, 8, 4), "W_K": (3, 2, 8, 4), "W_V": (3, 2, 8, 4),
          "W_O": (3, 2, 4, 8), "W_U": (8, 7)}  # fmt: skip


def some(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


def size(x):
    return np.linalg.norm(x, axis=(-2, -1))


def test_scores_are_the_ratios_of_whole_products():
    W = some()
    W_QK, W_OV = W["W_Q"] @ W["W_K"].mT, W["W_V"] @ W["W_O"]
    reads = {"Q": W_QK, "K": W_QK.mT, "V": W_OV}
    with jax.enable_x64():
        found = {name: np.asarray(x) for name, x in jax.jit(scores.all_compositions)(W, None).items()}
        pair = np.asarray(scores.composition(W, "K", 0, 2))
    for kind, read in reads.items():
        whole = size(W_OV[:, :, None, None] @ read) / (size(W_OV)[:, :, None, None] * size(read))
        for earlier, later in product(range(3), range(3)):
            wanted = whole[earlier, :, later] if earlier < later else np.full((2, 2), np.nan)
            np.testing.assert_allclose(found[kind][earlier, :, later], wanted, atol=1e-12)
        for table in ("W_E", "W_pos"):
            wanted = size(W[table] @ read) / (size(W[table]) * size(read))
            np.testing.assert_allclose(found[f"{table}/{kind}"], wanted, atol=1e-12)
    np.testing.assert_allclose(pair, found["K"][0, :, 2], atol=1e-12)
    np.testing.assert_allclose(found["W_U"], size(W_OV @ W["W_U"]) / (size(W_OV) * size(W["W_U"])), atol=1e-12)
    direct = size(W["W_E"] @ W["W_U"]) / (size(W["W_E"]) * size(W["W_U"]))
    np.testing.assert_allclose(found["direct"], direct, atol=1e-12)


def test_the_induction_machine_composes_by_keys_alone():
    """Its spaces are orthogonal: head 1.0's keys read what head 0.0 writes; queries and values read tokens."""
    params = Net.of(InductionMachine, d_vocab=7, n_ctx=7).init(jax.random.key(0))
    found = scores.all_compositions(params, None)
    assert found["Q"][0, 0, 1, 0] == found["V"][0, 0, 1, 0] == 0 < 0.3 < found["K"][0, 0, 1, 0]
    assert found["W_E/K"][1, 0] == 0 < 0.3 < min(found["W_E/Q"][1, 0], found["W_E/V"][1, 0])
    assert found["W_pos/V"][0, 0] == found["W_E/Q"][0, 0] == found["W_U"][0, 0] == found["direct"] == 0
    assert min(found["W_pos/Q"][0, 0], found["W_pos/K"][0, 0], found["W_U"][1, 0]) > 0.3


def test_random_matrices_average_one_over_the_width():
    """Squares average 1/D exactly, whatever the shapes. 400 draws: within 4 standard errors of their own scatter."""
    rng, D = np.random.default_rng(0), 8
    squares = []
    for _ in range(400):
        W = {"W_E": rng.normal(size=(11, D)), "W_U": rng.normal(size=(D, 7))}
        squares.append(size(W["W_E"] @ W["W_U"]) ** 2 / (size(W["W_E"]) * size(W["W_U"])) ** 2)
    assert abs(np.mean(squares) - 1 / D) < 4 * np.std(squares) / 20
    mean, deviation = scores.random_composition(D, 4, n=400)
    assert abs(mean**2 + deviation**2 - 1 / D) < 4 * 2 * mean * deviation / 20
    wide, narrow = scores.random_composition(768, 64, n=16)  # in pieces that bound memory
    assert narrow < 1e-3 and abs(wide - 768**-0.5) < 4 * narrow


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: scores.composition(some(), "K", 1, 1),
            "earlier is 1 and later 1: they must ascend, and lie in 0 to 2",
        ),
        (
            lambda: scores.composition(some(), "K", 0, 3),
            "earlier is 0 and later 3: they must ascend, and lie in 0 to 2",
        ),
        (lambda: scores.composition_scores(some(), "O"), "kind is 'O', it must be one of Q, K, V"),
        (lambda: scores.embedding_composition(some(), "Q", "W_U"), "table is 'W_U', it must be one of W_E, W_pos"),
        (lambda: scores.direct_composition({"W_U": np.ones((8, 3))}), "params has W_U: W_E must be there too"),
        (lambda: scores.direct_composition(some() | {"W_R": np.ones((1, 8, 8))}), "params has W_R"),
    ],
)
def test_what_is_not_there_is_refused(call, sentence):
    with pytest.raises(ValueError) as caught:
        call()
    assert sentence in str(caught.value)
