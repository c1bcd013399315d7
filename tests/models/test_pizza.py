"""The networks of Zhong et al. 2023 against their formulas in float64, their fast path, and the embedding as an input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.models import Net, PizzaLinear, PizzaTransformer

KEY = jax.random.key(0)
P = 5
TOKENS = np.stack(np.divmod(np.arange(P * P), P), axis=1)
SIZES = {"d_vocab": P, "d_vocab_out": 6, "d_model": 10, "d_mlp": 12}
KINDS = ("alpha", "beta", "gamma", "delta")


def transformer(**fields):
    return Net.of(PizzaTransformer, **{**SIZES, "n_layers": 2, "n_heads": 4, "attention_rate": 0.3, **fields})


def weights(net):
    """Weights in general position: no bias is 0."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, KEY)
    return {name: np.float32(rng.normal(size=x.shape) / x.shape[-1] ** 0.5) for name, x in shapes.items()}


def relu(x):
    return np.maximum(x, 0)


def forward(params, tokens, rate):
    """Logits of the transformer, head by head, as in the released code but with rows for vectors."""
    w = {name: np.float64(x) for name, x in params.items()}
    resid = w["W_E"][tokens] + w["W_pos"]
    for layer in range(len(w["W_Q"])):
        added = 0
        for head in range(w["W_Q"].shape[1]):
            q, k, v = (resid @ w[f"W_{name}"][layer, head] for name in "QKV")
            scores = np.exp(q @ np.swapaxes(k, 1, 2) / q.shape[-1] ** 0.5)
            pattern = scores / scores.sum(-1, keepdims=True) * rate + (1 - rate)
            added = added + pattern @ v @ w["W_O"][layer, head]
        resid = resid + added
        resid = resid + relu(resid @ w["W_in"][layer] + w["b_in"][layer]) @ w["W_out"][layer] + w["b_out"][layer]
    return resid[:, -1] @ w["W_U"]


def linear_forward(params, tokens, kind):
    w = {name: np.float64(x) for name, x in params.items()}
    a, b = w["W_E"][tokens[:, 0]], w["W_E"][tokens[:, 1]]
    if kind == "delta":
        h = relu(np.hstack([a, b]) @ np.vstack([*w["W_in"]]) + w["b_in"])
    elif kind == "gamma":
        h = relu((a @ w["W_in"] + w["b_in"]) + (b @ w["W_in"] + w["b_in"]))
    else:
        h = relu((a + b) @ w["W_in"] + w["b_in"])
    return (relu(h @ w["W_mid"] + w["b_mid"]) if "W_mid" in w else h) @ w["W_U"]


@pytest.mark.parametrize(  # d_model 10: heads of 2 dimensions and a first layer from tables, and one of 10 without
    ("n_heads", "n_layers", "batch"), [(4, 2, P * P), (1, 1, 3)]
)
def test_the_transformer_is_its_formula_and_its_fast_path_has_the_same_gradients(n_heads, n_layers, batch):
    net, tokens = transformer(n_heads=n_heads, n_layers=n_layers), TOKENS[-batch:]
    params = weights(net)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def gradients(params, rate):
        rated = net.with_fields(attention_rate=rate)
        return [
            jax.grad(lambda params, full=full: jnp.sum(jnp.tanh(rated.apply(params, tokens, full=full)[0])))(params)
            for full in (True, False)
        ], rated.apply(params, tokens)[0]

    (plain, fast), logits = gradients(params, 0.3)
    np.testing.assert_allclose(logits, forward(params, tokens, 0.3), rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5), plain, fast)


def test_the_attention_rate_0_gives_the_weight_1_to_every_position_and_1_is_attention():
    net = transformer(n_layers=1)
    params = weights(net)
    for rate, total in ((0.0, 2), (1.0, 1)):
        pattern = net.with_fields(attention_rate=rate).apply(params, TOKENS)[1]["pattern"]
        np.testing.assert_allclose(pattern.sum(-1), total, rtol=1e-6)
    assert (net.with_fields(attention_rate=0.0).apply(params, TOKENS)[1]["pattern"] == 1).all()


def test_the_attention_rate_is_a_leaf_between_0_and_1():
    rates = jnp.float32([0.0, 0.5, 1.0])
    params = weights(transformer())

    def logits(rate):
        return transformer(attention_rate=rate).apply(params, TOKENS[:3])[0]

    for each, rate in zip(jax.jit(jax.vmap(logits))(rates), rates, strict=True):
        np.testing.assert_allclose(each, forward(params, TOKENS[:3], float(rate)), rtol=1e-4, atol=1e-5)
    transformer(attention_rate=0.0).check()
    with pytest.raises(ValueError, match=r"^net\.attention_rate is 1\.5: it must lie in \[0, 1\]\.$"):
        transformer(attention_rate=1.5).check()
    with pytest.raises(ValueError, match=r"^net\.kind is 'A': it must be one of alpha, beta, gamma, delta\.$"):
        Net.of(PizzaLinear, **SIZES, kind="A").check()


def test_w_in_starts_with_the_spread_of_its_outputs():
    net = Net.of(PizzaTransformer, d_vocab=P, d_vocab_out=P)
    spread = jax.jit(lambda key: {name: jnp.std(net.init(key)[name]) for name in ("W_in", "W_Q")})(KEY)
    np.testing.assert_allclose([spread["W_in"], spread["W_Q"]], [512**-0.5, 128**-0.5], rtol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_model_is_its_formula(kind):
    net = Net.of(PizzaLinear, **SIZES, kind=kind)
    params = weights(net)
    logits, cache = net.apply(params, TOKENS)
    np.testing.assert_allclose(logits, linear_forward(params, TOKENS, kind), rtol=1e-4, atol=1e-5)
    assert cache["mlp_post"].shape == (2 if kind in ("beta", "gamma") else 1, P * P, 12)
    np.testing.assert_array_equal(net.apply(params, np.c_[TOKENS, TOKENS], full=False)[0], logits)  # two are read


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", *KINDS])
def test_embeddings_can_be_patched_in_and_differentiated_by(kind):
    net = transformer() if kind == "transformer" else Net.of(PizzaLinear, **SIZES, kind=kind)
    params = weights(net)

    @jax.jit
    def both(embed):
        """Logits of class 2 of examples whose embeddings are given, their gradient, and that by W_E."""

        def given(embed):
            return net.apply(params, TOKENS, {"embed": lambda value, layer: embed})[0][:, 2]

        by_table = jax.grad(lambda W_E: jnp.sum(net.apply({**params, "W_E": W_E}, TOKENS)[0][:, 2]))(params["W_E"])
        return given(embed), jax.grad(lambda embed: jnp.sum(given(embed)))(embed), by_table

    logits, gradient, by_table = both(params["W_E"][TOKENS])
    np.testing.assert_allclose(logits, net.apply(params, TOKENS)[0][:, 2], rtol=1e-4, atol=1e-5)
    summed = np.zeros_like(params["W_E"])
    np.add.at(summed, TOKENS, gradient)
    np.testing.assert_allclose(summed, by_table, rtol=1e-4, atol=1e-5)
    assert gradient.shape == (P * P, 2, 10) and np.abs(gradient).max() > 0
