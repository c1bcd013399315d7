"""`ModularMLP` without an embedding against the product with one-hot vectors that it stands for (Doshi et al. 2023)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import importers
from toylab.models import ModularMLP, Net

KEY = jax.random.key(0)
NETS = {
    activation: Net.of(ModularMLP, d_vocab=5, d_vocab_out=6, d_mlp=8, embedding="none", activation=activation)
    for activation in ("quadratic", "relu")
}
NET = NETS["quadratic"]
TOKENS = np.array([[a, b, 9] for a in range(5) for b in range(5)])  # the third is not read
X = np.concatenate([np.eye(5)[TOKENS[:, 0]], np.eye(5)[TOKENS[:, 1]]], axis=1)  # [25, 10]
ROUNDINGS = 64  # more than a sum of 25 examples, one of 8 neurons, and the products before them have


def by_product(W_in, W_U, weights, activation, size=np.asarray):
    """logits [25, 6], and the gradients of Σ weights · logits, in float64; with size = np.abs, bounds of what is summed."""
    pre = X @ size(W_in.reshape(10, 8))
    post, slope = (np.maximum(pre, 0), pre > 0) if activation == "relu" else (pre**2, 2 * pre)
    above = size(weights) @ size(W_U).T * slope
    return post @ size(W_U), (X.T @ above).reshape(2, 5, 8), post.T @ size(weights)


@pytest.mark.parametrize("activation", NETS)
def test_values_and_gradients_are_those_of_the_product_with_one_hot_vectors(activation):
    net = NETS[activation]
    params = net.init(KEY)
    assert {name: x.shape for name, x in params.items()} == {"W_in": (2, 5, 8), "W_U": (8, 6)}
    weights = np.random.default_rng(0).normal(size=(25, 6)).astype(np.float32)

    def weighted(params, full):
        return jnp.sum(net.apply(params, TOKENS, full=full)[0] * weights)

    exact = [np.float64(x) for x in (params["W_in"], params["W_U"], weights)]
    wanted, bound = by_product(*exact, activation), by_product(*exact, activation, size=np.abs)
    for full in (True, False):
        slopes = jax.grad(weighted)(params, full)
        found = net.apply(params, TOKENS, full=full)[0], slopes["W_in"], slopes["W_U"]
        for ours, theirs, most in zip(found, wanted, bound, strict=True):
            assert (np.abs(ours - theirs) <= ROUNDINGS * np.finfo(np.float32).eps * most).all()


def test_no_product_with_one_hot_vectors_is_made():
    """The program of the fast path has no array of the examples by the numbers, [25, 5] or [25, 10]."""
    program = str(jax.make_jaxpr(lambda params: NET.apply(params, TOKENS, full=False)[0])(NET.init(KEY)))
    assert "25,8" in program and "25,5]" not in program and "25,10]" not in program


def test_all_weights_start_with_the_spread_of_the_authors_code():
    net = Net.of(ModularMLP, d_vocab=50, d_vocab_out=50, d_mlp=256, embedding="none")
    params, doubled = net.init(KEY), net.with_fields(init_scale=2.0).init(KEY)
    for name in ("W_in", "W_U"):  # an sd of n draws has the standard error sd / √(2n): five of them
        np.testing.assert_allclose(np.std(params[name]), 0.5 / 512 ** (1 / 3), rtol=5 / (2 * params[name].size) ** 0.5)
        np.testing.assert_array_equal(doubled[name], 2 * params[name])


def test_the_one_hot_vectors_can_be_patched():
    """They can be differentiated by: the slope of the logits along a number is that of its row of W_in."""
    params = NET.init(KEY)
    logits, cache = NET.apply(params, TOKENS)
    seen = []
    same = NET.apply(params, TOKENS, {"embed": lambda x, layer: seen.append(x) or x})[0]
    np.testing.assert_array_equal(np.concatenate([seen[0][:, 0], seen[0][:, 1]], axis=1), X)
    np.testing.assert_allclose(same, logits, rtol=1e-5, atol=1e-6)

    def first(share):
        return NET.apply(params, TOKENS, {"embed": lambda x, layer: x.at[:, 0, 2].add(share)})[0][:, 0]

    slope = jax.jvp(first, (0.0,), (1.0,))[1]
    expected = 2 * np.asarray(cache["mlp_pre"][0]) * params["W_in"][0, 2] @ params["W_U"][:, 0]
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrong", [5, -1])
def test_a_number_that_the_table_lacks_is_refused_and_under_jit_nan(wrong):
    tokens = TOKENS.copy()
    tokens[3, 1] = wrong
    with pytest.raises(ValueError, match=rf"^tokens has {wrong}: W_in has 5 rows, so it must lie between 0 and 4\.$"):
        NET.apply(NET.init(KEY), tokens)
    found = jax.jit(lambda tokens: NET.apply(NET.init(KEY), tokens)[0])(tokens)
    assert np.isnan(found[3]).all() and np.isfinite(np.delete(found, 3, axis=0)).all()


def test_it_is_saved_and_read_again(tmp_path):
    params = NET.init(KEY)
    importers.save(params, tmp_path / "net.safetensors", "toylab", net=NET)
    again, same = importers.load(tmp_path / "net.safetensors", "toylab")
    assert again == NET and all((same[name] == params[name]).all() for name in params)
