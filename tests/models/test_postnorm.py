"""The decoder with LayerNorm behind each sum: its formula in numpy float64, its fast path, and its start."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention.interventions import path_patching
from toylab.models import Net, PostNormTransformer
from toylab.models.positions import sinusoidal

KEY = jax.random.key(0)
V, P, D, H = 7, 4, 8, 2
VARIANTS = {  # the released code, and the two that danielmamay/grokking has had
    "grok": {"positions": "sinusoidal", "activation": "relu"},
    "learned": {"positions": "abs", "activation": "relu"},
    "biased": {"positions": "abs", "activation": "gelu", "biases": True, "final_norm": True},
}
variants = pytest.mark.parametrize("variant", VARIANTS)


def net_of(variant, **fields):
    sizes = {"d_vocab": V, "d_vocab_out": V, "n_ctx": P, "n_layers": 2, "d_model": D, "n_heads": H, "d_mlp": D}
    return Net.of(PostNormTransformer, **{**sizes, **VARIANTS[variant], **fields}).check()


def weights(net, seed=0):
    """In general position: no bias is 0, no LayerNorm 1; all matrices but W_E, W_pos and W_U are square."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(net.init, KEY)
    return {
        name: np.float32(rng.normal(size=x.shape) / x.shape[-1] ** 0.5 + (name[:2] == "ln" and name[-1] == "w"))
        for name, x in shapes.items()
    }


erf = np.vectorize(math.erf)


def forward(params, tokens, net):
    """Logits at all positions, and what enters and leaves the layers, in float64: head by head, position by position."""
    w = {name: np.float64(x) for name, x in params.items()}
    b = {name: w.get(name, np.zeros((net.n_layers, H, 1))) for name in ("b_Q", "b_K", "b_V")}
    b |= {name: w.get(name, np.zeros((net.n_layers, 1))) for name in ("b_O", "b_in", "b_out")}

    def norm(x, name, layer=...):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}_w"][layer] + w[f"{name}_b"][layer]

    if net.positions == "abs":
        added = w["W_pos"]
    else:
        added = np.array(
            [
                [np.cos(t / 10000 ** ((i - 1) / D)) if i % 2 else np.sin(t / 10000 ** (i / D)) for i in range(D)]
                for t in range(P)
            ]
        )
    x, entering, leaving = w["W_E"][tokens] + added, [], []
    for layer in range(net.n_layers):
        entering.append(x)
        heads = []
        for h in range(H):
            q, k, v = (x @ w[f"W_{name}"][layer, h] + b[f"b_{name}"][layer, h] for name in "QKV")
            scores = np.where(np.tri(P, dtype=bool), q @ np.swapaxes(k, 1, 2) / (D // H) ** 0.5, -np.inf)
            pattern = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(pattern / pattern.sum(-1, keepdims=True) @ v @ w["W_O"][layer, h])
        x = norm(x + sum(heads) + b["b_O"][layer], "ln1_post", layer)
        pre = x @ w["W_in"][layer] + b["b_in"][layer]
        post = np.maximum(pre, 0) if net.activation == "relu" else pre * 0.5 * (1 + erf(pre / 2**0.5))
        x = norm(x + post @ w["W_out"][layer] + b["b_out"][layer], "ln2_post", layer)
        leaving.append(x)
    x = norm(x, "ln_final") if net.final_norm else x
    return x @ w["W_U"] + w.get("b_U", 0), np.stack(entering), np.stack(leaving)


TOKENS = np.random.default_rng(1).integers(0, V, (40, P))  # 4 V <= 40: the fast path takes its tables


@variants
@pytest.mark.parametrize("readout", ["last", "all"])
def test_logits_are_those_of_the_formula_and_the_fast_path_has_the_same_gradients(variant, readout):
    net = net_of(variant, readout=readout)
    params = weights(net)
    wanted, entering, leaving = forward(params, TOKENS, net)
    wanted = wanted[:, -1] if readout == "last" else wanted
    direction = np.random.default_rng(2).normal(size=wanted.shape).astype(np.float32)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(params):
        def loss(params, full):
            found = net.apply(params, TOKENS, full=full)
            return jnp.sum(direction * jnp.tanh(found[0])), found

        return [jax.value_and_grad(loss, has_aux=True)(params, full) for full in (True, False)]

    ((_, (plain, cache)), plain_gradient), ((_, (fast, nothing)), gradient) = both(params)
    # some 30 sums of 8 products follow each other, behind norms that divide by what is about 1: 1e-5 is 100 roundings
    size = np.abs(wanted).max()
    np.testing.assert_allclose(plain, wanted, rtol=1e-5, atol=1e-5 * size)
    np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-5 * size)
    np.testing.assert_allclose(cache["resid_pre"], entering, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(cache["resid_post"], leaving, rtol=1e-5, atol=1e-4)
    assert nothing == {}
    for name in params:
        off = np.linalg.norm(gradient[name] - plain_gradient[name])
        assert off <= 1e-4 * np.linalg.norm(plain_gradient[name]), name


def test_the_fixed_positions_are_sines_and_cosines_of_pairs():
    table = sinusoidal(5, 6)
    for t in range(5):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            np.testing.assert_allclose(table[t, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)], atol=1e-12)


def test_no_logit_sees_later_tokens():
    net = net_of("grok", readout="all")
    params, other = weights(net), TOKENS.copy()
    other[:, 2] = (other[:, 2] + 1) % V
    first, second = (np.asarray(net.apply(params, tokens)[0]) for tokens in (TOKENS, other))
    np.testing.assert_array_equal(first[:, :2], second[:, :2])
    assert (first[:, 2:] != second[:, 2:]).any(-1).all()


@variants
def test_the_start_has_torchs_scales(variant):
    """Of a uniform distribution in ±c the variance is c²/3; n draws have it to √(4/5n) of itself, so 5 of these."""
    net = net_of(variant, d_model=64, d_mlp=256, n_heads=4, d_vocab=99, d_vocab_out=99, init_attention_scale=1.5**0.5)
    params = {name: np.asarray(x) for name, x in net.init(KEY).items()}
    bounds = {"W_Q": (1.5 / 64) ** 0.5, "W_O": 1 / 8, "W_in": 1 / 8, "W_out": 1 / 16, "W_U": 1 / 8, "b_out": 1 / 16}
    for name, bound in bounds.items():
        if name in params:
            x = params[name]
            assert np.abs(x).max() <= bound * (1 + 1e-6)
            np.testing.assert_allclose(x.var() / (bound**2 / 3), 1, atol=5 * (0.8 / x.size) ** 0.5)
    for name in {"W_E", "W_pos"} & set(params):
        np.testing.assert_allclose(params[name].var(), 1, atol=5 * (2 / params[name].size) ** 0.5)
    zeros = {"ln1_post_b", "ln2_post_b", "ln_final_b", "b_Q", "b_K", "b_V", "b_O"} & set(params)
    assert not any(params[name].any() for name in zeros)
    assert all((params[name] == 1).all() for name in params if name[:2] == "ln" and name[-1] == "w")
    assert ("b_in" in params) == ("ln_final_w" in params) == (variant == "biased")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": "rotary"}, r"^net\.positions is 'rotary': it must be sinusoidal or abs\.$"),
        ({"d_mlp": 0}, r"^net\.d_mlp is 0: it must be at least 1\.$"),
        ({"n_heads": 3}, r"^net\.d_model is 8: it must be divisible by net\.n_heads, which is 3\.$"),
    ],
)
def test_check_refuses_by_field(change, message):
    with pytest.raises(ValueError, match=message):
        net_of("grok", **change)


def test_a_path_through_the_stream_is_refused():
    """It is no sum: what a head writes is divided by the norm of all."""
    net = net_of("grok")
    with pytest.raises(ValueError, match=r"^params has ln1_post_w: a LayerNorm behind each sum leaves no path"):
        path_patching(net.apply, weights(net), TOKENS, TOKENS[::-1], lambda logits: logits.mean())
