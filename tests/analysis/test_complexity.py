"""Golechha's measures of complexity against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import exact

from toylab.analysis import complexity

KEY = jax.random.key(0)


def test_the_share_of_activations_that_are_off():
    x = np.float32([[0, 0.5, 2], [0, 0, 0.1]])
    assert float(complexity.activation_sparsity(x)) == pytest.approx(3 / 6)
    assert float(complexity.activation_sparsity(x, 0.1)) == pytest.approx(4 / 6)  # what lies at the threshold counts
    assert np.isnan(complexity.activation_sparsity(np.where(x == 2, np.nan, x)))
    with pytest.raises(ValueError, match=r"x has shape \(0, 3\)"):
        complexity.activation_sparsity(x[:0])


def test_the_entropy_of_equal_weights_and_of_even_ones():
    n, w = 12, 0.3
    signs = np.resize([-w, w], (3, 4))
    assert float(exact(complexity.absolute_weight_entropy, signs)) == pytest.approx(-n * w * np.log(w), rel=1e-12)
    assert float(complexity.absolute_weight_entropy(np.float32([0, 1, -1]))) == 0
    for a in (0.1, np.exp(-0.5), 2.0):  # appendix B; midpoints of a grid integrate −|w| ln |w| to within a²/n² · n
        grid = a * (2 * (np.arange(2000) + 0.5) / 2000 - 1)
        found = float(exact(complexity.absolute_weight_entropy, grid)) / 2000
        assert found == pytest.approx(a / 4 - a / 2 * np.log(a), abs=1e-3 * a)


def test_entropy_is_largest_where_the_weights_reach_e_to_the_minus_half():
    even = np.linspace(-1, 1, 2001)
    sizes = np.exp([-0.9, -0.5, -0.1])
    found = [float(exact(complexity.absolute_weight_entropy, a * even)) for a in sizes]
    assert found[1] > found[0] and found[1] > found[2]


def test_the_divergence_of_two_distributions_and_of_one():
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    known = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    found = exact(complexity.output_divergence, np.log([p, p]) + 3, np.log([q, p]))  # a shift of all logits is none
    assert float(found) == pytest.approx(known / 2, rel=1e-12)
    assert float(complexity.output_divergence(np.log([p]), np.log([p]))) == 0
    assert np.isfinite(complexity.output_divergence(np.float32([[1e4, 0]]), np.float32([[0, 0]])))


def linear(params, x, full=False):
    return x @ params["W"] + params["b"], {}


def test_a_cut_of_all_weights_leaves_the_bias_and_of_none_nothing():
    params = {"W": jnp.float32([[2, 0], [0, 1]]), "b": jnp.float32([0, 1])}
    x = jnp.float32([[1, 0], [1, 2]])
    whole, _ = linear(params, x)
    bias = jnp.broadcast_to(params["b"], whole.shape)
    found = complexity.circuit_complexity(linear, params, "W", x, KEY, share=1.0)
    np.testing.assert_allclose(found, complexity.output_divergence(whole, bias), rtol=1e-6)
    assert float(complexity.circuit_complexity(linear, params, "W", x, KEY, share=0.0)) == 0
    dead = {**params, "W": jnp.zeros((2, 2))}
    assert float(complexity.circuit_complexity(linear, dead, "W", x, KEY, share=0.5)) == 0


def test_so_many_weights_are_cut_as_the_share_says():
    """One example sees one weight a class, all alike: the outputs of the cut network count the cut weights."""
    seen = {}

    def counting(params, x, full=False):
        seen.setdefault("cut", []).append(int((params["W"] == 0).sum()))
        return x @ params["W"], {}

    complexity.circuit_complexity(counting, {"W": jnp.ones((6, 5))}, "W", jnp.ones((1, 6)), KEY, share=0.1, draws=3)
    assert seen["cut"] == [0, 3, 3, 3]


def test_what_cannot_be_cut_is_refused():
    params, x = {"W": jnp.ones((2, 2)), "b": jnp.ones(2)}, jnp.ones((1, 2))
    with pytest.raises(ValueError, match=r"^name is 'V': the arrays are W, b\.$"):
        complexity.circuit_complexity(linear, params, "V", x, KEY)
    with pytest.raises(ValueError, match=r"^share is 1\.5: it must lie in \[0, 1\]\.$"):
        complexity.circuit_complexity(linear, params, "W", x, KEY, share=1.5)
    with pytest.raises(ValueError, match=r"^draws is 0: it must be at least 1\.$"):
        complexity.circuit_complexity(linear, params, "W", x, KEY, draws=0)
