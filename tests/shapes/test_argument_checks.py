"""One wrong shape or dtype each, and the sentence that public array functions answer with before they compute anything."""

import jax
import numpy as np
import pytest

from toylab.analysis import llc
from toylab.analysis import representation as rep
from toylab.analysis.attention import (
    discovery,
    edges,
    heads,
    interventions,
    nested_logits,
    pairs,
    scrubbing,
    subcircuits,
)
from toylab.analysis.groups import composition as groups
from toylab.analysis.groups import cosets, irreps, young
from toylab.analysis.modular import analytic, circles
from toylab.analysis.modular import circuits as mc
from toylab.analysis.superposition import polysemanticity, population
from toylab.tasks import cayley

C3 = cayley.table("cyclic", 3)
REPS = irreps.representations("cyclic", 3)
W_E, W_U = np.zeros((7, 4)), np.zeros((4, 7))
GRAPH = edges.Graph(n_layers=1, n_heads=1)
TOKENS, LABELS = np.zeros((3, 9), int), np.zeros(3, int)
NET = (None, None)  # apply and params, which a wrong argument does not come to

REFUSED = {
    'params["W_U"] has shape (5, 4, 7) and dtype float64, it must be real numbers [d_last, d_vocab_out]': (
        lambda: mc.circuit_report(None, {"W_E": W_E, "W_U": np.zeros((5, 4, 7))})
    ),
    "params is a ndarray, it must be a mapping of names to arrays": lambda: mc.circle_fve(None, W_E),
    "triples has shape (3,) and dtype int64, it must be integers [n, 3]": (
        lambda: mc.gradient_symmetricity(None, {"W_E": W_E, "W_U": W_U}, [1, 2, 3])
    ),
    "logits has shape () and dtype float64, it must be real numbers [*inputs, d_vocab_out]": (
        lambda: mc.distance_irrelevance(np.float64(1))
    ),
    "circles has shape (1,) and dtype float64, it must be integers [m]": lambda: circles.alone(W_E, np.zeros(1), 7),
    "logits has shape (7, 6, 7) and dtype float64, it must be real numbers [p, p, d_vocab_out]": (
        lambda: circles.explained(np.zeros((7, 6, 7)), 1)
    ),
    "phases has shape (4, 3) and dtype float64, it must be real numbers [n, 2]": (
        lambda: analytic.gromov(7, 4, phases=np.zeros((4, 3)))
    ),
    "cube has shape (7, 7, 8) and dtype float64, it must be real numbers [p, p, p]": (
        lambda: analytic.accuracy(np.zeros((7, 7, 8)))
    ),
    "labels has shape (2, 4) and dtype int64, it must be integers [S, g] with g = 3 as in x": (
        lambda: cosets.concentration(np.zeros((3, 5)), np.zeros((2, 4), int))
    ),
    "which has shape (1, 3) and dtype int64, it must be booleans [S, g] with g = 3 as in table": (
        lambda: cosets.cosets(C3, np.ones((1, 3), int))
    ),
    'tables["b"] has shape (3, 4) and dtype float64, it must be real numbers [g, m] with g = 3 and m = 5 as in '
    'tables["a"]': lambda: cosets.neurons({"a": np.zeros((3, 5)), "b": np.zeros((3, 4))}, cosets.cosets(C3)),
    "table has shape (2, 3) and dtype int32, it must be integers [g, g]": lambda: irreps.generators(C3[:2]),
    "permutations has shape (3,) and dtype int64, it must be integers [g, n]": (
        lambda: young.orthogonal_form((2, 1), np.arange(3))
    ),
    "W has shape (4, 3) and dtype float64, it must be real numbers [m, g] with m = 5 and g = 3 as in hidden": (
        lambda: groups.hidden_losses(
            np.zeros((3, 3, 5)), np.zeros((4, 3)), REPS, np.ones(2, bool), np.ones((3, 3), bool)
        )
    ),
    "key has shape (2,) and dtype float32, it must be booleans [K] with K = 2 as in similarity": (
        lambda: jax.jit(groups.logit_fve)(np.zeros(2), np.ones(2))
    ),
    "key has shape (3,) and dtype bool, it must be booleans [K] with K = 2 as in similarity": (
        lambda: groups.order_learned(np.zeros((9, 2)), np.ones(3, bool))
    ),
    "b has shape (4,) and dtype float64, it must be real numbers [C] with C = 3 as in W": (
        lambda: rep.neural_collapse(np.zeros((5, 2)), np.arange(5) % 3, np.zeros((2, 3)), np.zeros(4))
    ),
    "K0 has shape (3, 3) and dtype float64, it must be real numbers [n, n] with n = 2 as in K": (
        lambda: rep.kernel_movement(np.eye(2), np.eye(3))
    ),
    "train has shape (5,) and dtype bool, it must be booleans [p*(p+1)//2] with p = 3 as in E": (
        lambda: rep.predicted_accuracy([0.0, 1, 2], np.ones(5, bool))
    ),
    "labels has shape (5,) and dtype float64, it must be integers [n] with n = 5 as in x": (
        lambda: rep.probe_accuracies(np.zeros((5, 2)), np.zeros(5), 2)
    ),
    "whole has shape (3, 9, 6) and dtype float64, it must be real numbers [*batch, d_vocab_out] "
    "with *batch = [3, 9] and d_vocab_out = 7 as in logits": (
        lambda: discovery.kl_divergence(np.zeros((3, 9, 7)), np.zeros((3, 9, 6)))
    ),
    "true has shape (4, 5) and dtype float64, it must be booleans [S, R] with S = 4 and R = 5 as in scores": (
        lambda: discovery.roc(np.zeros((4, 5)), np.zeros((4, 5)), np.zeros((4, 5), bool))
    ),
    "threshold has shape (2,) and dtype float64, it must be a scalar of real numbers": (
        lambda: discovery.acdc(*NET, GRAPH, TOKENS, discovery.kl_divergence, np.zeros(2))
    ),
    "x has shape (3,) and dtype int64, it must be an array [B, P, ...]": lambda: edges.written(*NET, GRAPH, LABELS),
    "keep has shape (2, 5), it must be [senders, receivers] = [3, 4] of the graph": (
        lambda: edges.circuit(*NET, GRAPH, TOKENS, np.ones((2, 5)))
    ),
    "key has shape (2,) and dtype float64, it must be a key of jax.random, uint32 [2] or uint32 [4]": (
        lambda: heads.repeated_blocks(np.zeros(2), 1, 2, 3)
    ),
    "corrupt has shape (2, 9) and dtype int64, it must be an array [*inputs] with *inputs = [3, 9] as in clean": (
        lambda: interventions.path_patching(*NET, TOKENS, TOKENS[:2], np.sum)
    ),
    "eigs has shape () and dtype float64, it must be real numbers [*batch, d]": lambda: llc.quadratic(2.0, 1.0, 1.0),
    "start has shape (2,) and dtype float64, it must be a scalar of real numbers": (
        lambda: nested_logits.descent(4, 2, 8, [0.1, 0.2])
    ),
    "support has shape (3, 4) and dtype float64, it must be booleans [B, (P-1)/2] with B = 3 and P = 9 as in pattern": (
        lambda: pairs.pair_attention(np.zeros((3, 2, 9, 9)), np.zeros((3, 4)))
    ),
    "W has shape (2,) and dtype float64, it must be real numbers [*batch, n_features, n_neurons]": (
        lambda: polysemanticity.fourth_norm([1.0, 2.0])
    ),
    "density has shape (2,) and dtype float64, it must be a scalar of real numbers or real numbers [n] "
    "with n = 4 as in W": lambda: population.population_loss(W_U, np.zeros(4), [0.1, 0.2]),
    "b has shape (5, 3) and dtype float32, it must be floats [K, n] with K = 5 and n = 4 as in W": (
        lambda: population.descended(np.zeros((5, 4, 2)), np.zeros((5, 3)), np.ones(5), np.ones((5, 4)))
    ),
    "feature has shape (3, 9) and dtype float64, it must be integers [B, P]": (
        lambda: scrubbing.donors(jax.random.key(0), np.zeros((3, 9)))
    ),
    "hypothesis[(0, 1, 'q')] has shape (2, 9) and dtype int64, it must be integers [B, P] "
    "with B = 3 and P = 9 as in x": (
        lambda: scrubbing.scrubbed(*NET, TOKENS, {(0, 1, "q"): TOKENS[:2]}, jax.random.key(0))
    ),
    "incorrect has shape (2,) and dtype int64, it must be integers [B] with B = 3 as in pattern": (
        lambda: subcircuits.induction_strength(np.zeros((3, 2, 9, 9)), LABELS, LABELS[:2])
    ),
    "initial has shape (3, 4) and dtype float32, it must be floats [3, dims] with dims = 5 as in true": (
        lambda: subcircuits.rank_one_losses(np.zeros((3, 5)), np.zeros((3, 4)), [True, False, False])
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_one_sentence_names_argument_and_both_shapes(sentence):
    with pytest.raises(ValueError) as caught:
        REFUSED[sentence]()
    assert str(caught.value) == sentence


def test_lists_of_numbers_are_arrays_still():
    assert float(groups.logit_fve([0.5, 0.6, 0.8], [True, False, True])) == pytest.approx(0.64)
    assert groups.order_learned([[0, 0.1], [0, 0.1]], [False, True]).tolist() == [0, 1]
    assert analytic.gromov(7, 2, frequencies=[1, 2], phases=[[0, 0], [0, 1]]).u.shape == (2, 7)
    assert rep.degrees_of_freedom(3, [True] * 6) == 2
    assert subcircuits.rank_one_losses(np.ones((3, 2)), np.ones((3, 2)), [True, False, True], steps=2).shape == (2,)
