"""One wrong shape or dtype each, and the sentence that public array functions answer with before they compute anything."""

import jax
import numpy as np
import pytest

from toylab import cayley
from toylab.analysis import analytic, circles, cosets, groups, irreps, young
from toylab.analysis import modular_circuits as mc
from toylab.analysis import representation as rep

C3 = cayley.table("cyclic", 3)
REPS = irreps.representations("cyclic", 3)
W_E, W_U = np.zeros((7, 4)), np.zeros((4, 7))

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
