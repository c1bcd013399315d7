"""Composed QK circuits against whole products, and on the hand-built induction machine."""

import jax
import numpy as np

from toylab.analysis.attention import composed
from toylab.models import InductionMachine, Net

SHAPES = {"W_E": (7, 8), "W_Q": (3, 2, 8, 4), "W_K": (3, 2, 8, 4), "W_V": (3, 2, 8, 4), "W_O": (3, 2, 4, 8)}


def test_composed_scores_are_those_of_whole_products_of_earlier_heads_alone():
    rng = np.random.default_rng(0)
    w = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    with jax.enable_x64():
        found = np.asarray(composed.composed_matching(w))
    for i, h, j, k in np.ndindex(found.shape):
        if j >= i:
            assert np.isnan(found[i, h, j, k])
            continue
        keys = w["W_E"] @ w["W_V"][j, k] @ w["W_O"][j, k] @ w["W_K"][i, h]
        values = np.linalg.eigvals(w["W_E"] @ w["W_Q"][i, h] @ keys.T)
        np.testing.assert_allclose(found[i, h, j, k], values.sum().real / np.abs(values).sum(), atol=1e-9)


def test_the_machines_head_matches_through_its_previous_token_head_and_not_on_its_own():
    net = Net.of(InductionMachine, d_vocab=13, n_ctx=17)
    params = net.init(jax.random.key(0))
    found = composed.eigenvalue_scores(params, None)
    assert found["composed_matching"][1, 0, 0, 0] > 0.9 and found["copying"][1, 0] > 0.9
    assert not abs(found["matching"][1, 0]) > 0.5  # nan of a circuit of zeros
