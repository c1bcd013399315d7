"""The decoder of summed embeddings against its formula in float64, its start, its cache and its patches."""

import jax
import numpy as np
import pytest

from toylab.models import Net, SumDecoder

KEY = jax.random.key(0)
TOKENS = np.array([[0, 3], [2, 2], [4, 1]])


def net(**fields):
    return Net.of(SumDecoder, **{"d_vocab": 5, "d_vocab_out": 3, "d_model": 2, "d_mlp": 7, **fields}).check()


def test_the_output_is_that_of_the_formula_and_the_cache_holds_both_layers():
    own = net()
    params = own.init(KEY)
    w = {name: np.float64(x) for name, x in params.items()}
    pre = (w["W_E"][TOKENS[:, 0]] + w["W_E"][TOKENS[:, 1]]) @ w["W_in"] + w["b_in"]
    second = np.tanh(pre) @ w["W_mid"] + w["b_mid"]
    output, cache = own.apply(params, TOKENS)
    np.testing.assert_allclose(output, np.tanh(second) @ w["W_U"] + w["b_U"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cache["mlp_pre"], np.stack([pre, second]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cache["mlp_post"], np.tanh(np.stack([pre, second])), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(own.apply(params, TOKENS, full=False)[0], output)


def test_the_start_is_even_within_the_bounds_of_each_array():
    params = net(d_vocab=400, d_mlp=300, embed_scale=3.0, decoder_scale=2.0).init(KEY)
    bounds = {"W_E": 1.5, "W_in": 2 / 2**0.5, "b_in": 2 / 2**0.5, "W_mid": 2 / 300**0.5, "W_U": 2 / 300**0.5}
    for name, bound in bounds.items():
        largest = np.abs(params[name]).max()
        assert 0.97 * bound < largest <= bound, name
        assert float(params[name].std()) == pytest.approx(bound / 3**0.5, rel=0.12), name


def test_patches_change_what_follows():
    own = net()
    params = own.init(KEY)
    silent = own.apply(params, TOKENS, {"mlp_post": lambda value, layer: value * (layer == 0)})[0]
    np.testing.assert_allclose(silent, np.broadcast_to(params["b_U"], silent.shape), rtol=1e-6)
    swapped = own.apply(params, TOKENS, {"embed": lambda value, layer: value[:, ::-1]})[0]
    np.testing.assert_allclose(swapped, own.apply(params, TOKENS)[0], rtol=1e-6)
    with pytest.raises(ValueError, match="the activations are embed, mlp_pre, mlp_post"):
        own.apply(params, TOKENS, {"z": lambda value, layer: value})


def test_other_tokens_are_refused():
    own = net()
    with pytest.raises(ValueError, match=r"tokens has shape \(1, 3\)"):
        own.apply(own.init(KEY), np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="tokens"):
        own.apply(own.init(KEY), np.array([[0, 5]]))
    with pytest.raises(ValueError, match=r"net\.d_mlp is 0"):
        net(d_mlp=0)
