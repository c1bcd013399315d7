"""The transformer against a forward pass in numpy float64, its fast path against the plain one, causality and patches."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.models import Net, Transformer
from toylab.models.transformer import ACTIVATIONS

KEY = jax.random.key(0)
NANDA = Net.of(Transformer, d_vocab=114, d_vocab_out=114, n_ctx=3)
V, P = 5, 3  # tokens and positions of the small networks
SMALL, LARGE = 4, 40  # batches on either side of the fast path's choices, 4 V <= B and V² <= 4 B
FIELDS = ("n_layers", "readout", "layer_norm", "activation", "causal", "d_mlp", "batch")
CASES = [  # every pair of values of any two fields occurs
    (1, "last", False, "relu", True, 12, SMALL),
    (1, "all", False, "gelu", False, 0, LARGE),
    (1, "last", True, "gelu", True, 12, LARGE),
    (1, "all", True, "relu", False, 0, SMALL),
    (2, "last", False, "relu", False, 0, LARGE),
    (2, "all", False, "gelu", True, 12, SMALL),
    (2, "last", True, "gelu", False, 12, SMALL),
    (2, "all", True, "relu", True, 0, LARGE),
]
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
cases = pytest.mark.parametrize("case", [dict(zip(FIELDS, case, strict=True)) for case in CASES], ids=str)


def small(**fields):
    sizes = {"d_vocab": V, "d_vocab_out": 6, "n_ctx": P + 1, "d_model": 8, "n_heads": 2, "d_mlp": 12}
    return Net.of(Transformer, **{**sizes, "readout": "all", **fields})


def weights(net, seed=0):
    """Weights in general position: no bias 0, no LayerNorm 1."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(net.init, KEY)
    scale = {1: 0.5, 2: 0.5, 3: 0.4, 4: 0.5}
    return {
        name: np.float32(scale[x.ndim] * rng.normal(size=x.shape) + (name[:2] == "ln" and name[-1] == "w"))
        for name, x in shapes.items()
    }


def some_tokens(batch, seed=0):
    return np.random.default_rng(seed).integers(0, V, (batch, P))


def forward(params, tokens, net):
    """Logits and cache [L, B, …] in float64, one example, head and position at a time."""
    w = {name: np.float64(x) for name, x in params.items()}
    n_layers, n_heads, d_head = net.n_layers, net.n_heads, net.d_model // net.n_heads
    n = tokens.shape[1]

    def norm(x, name, layer=...):
        if not net.layer_norm:
            return x
        centred = x - x.mean()
        unit = centred / np.sqrt((centred**2).mean() + 1e-5)
        return unit * w[f"{name}_w"][layer] + w[f"{name}_b"][layer]

    def gelu(x):
        return x * 0.5 * (1 + math.erf(x / 2**0.5))

    activation = np.vectorize(gelu if net.activation == "gelu" else lambda x: max(x, 0.0))

    def example(row):
        cache = {}
        resid = np.stack([w["W_E"][token] + w["W_pos"][i] for i, token in enumerate(row)])
        for layer in range(n_layers):

            def keep(name, value):
                cache.setdefault(name, []).append(value)
                return value

            keep("resid_pre", resid)
            x = np.stack([norm(r, "ln1", layer) for r in resid])
            q, k, v = (
                keep(name, np.stack([x @ w[f"W_{name.upper()}"][layer, h] for h in range(n_heads)])) for name in "qkv"
            )
            scores = np.full((n_heads, n, n), -np.inf)
            for h in range(n_heads):
                for i in range(n):
                    for j in range(i + 1 if net.causal else n):
                        scores[h, i, j] = q[h, i] @ k[h, j] / d_head**0.5
            weight = np.exp(keep("scores", scores) - scores.max(axis=-1, keepdims=True))
            pattern = keep("pattern", weight / weight.sum(axis=-1, keepdims=True))
            z = keep("z", np.stack([pattern[h] @ v[h] for h in range(n_heads)]))
            result = keep("result", np.stack([z[h] @ w["W_O"][layer, h] for h in range(n_heads)]))
            resid = resid + keep("attn_out", result.sum(axis=0))
            if net.d_mlp:
                x = np.stack([norm(r, "ln2", layer) for r in resid])
                pre = keep("mlp_pre", x @ w["W_in"][layer] + w["b_in"][layer])
                post = keep("mlp_post", activation(pre))
                resid = resid + keep("mlp_out", post @ w["W_out"][layer] + w["b_out"][layer])
            keep("resid_post", resid)
        logits = np.stack([norm(r, "ln_final") for r in resid]) @ w["W_U"]
        return (logits if net.readout == "all" else logits[-1]), cache

    both = [example(row) for row in tokens]
    cache = {name: np.stack([np.stack(found[name]) for _, found in both], axis=1) for name in both[0][1]}
    return np.stack([logits for logits, _ in both]), cache


def assert_close(found, expected, share=1e-5):
    """To `share` of the largest entry."""
    size = np.abs(np.where(np.isfinite(expected), expected, 0)).max()
    np.testing.assert_allclose(found, expected, rtol=share, atol=share * size)


@cases
def test_logits_and_cache_are_those_of_the_formula_and_the_fast_path_has_the_same_with_gradients(case):
    fields = dict(case)
    tokens = some_tokens(fields.pop("batch"))
    net = small(n_ctx=P + fields["n_layers"] - 1, **fields)  # all positions, and fewer than there are
    params = weights(net)
    logits, cache = forward(params, tokens, net)
    direction = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)

    @partial(jax.jit, compiler_options=QUICK)
    def both(params):
        def scalar(full):
            def loss(params):
                found = net.apply(params, tokens, full=full)
                return jnp.sum(direction * jnp.tanh(found[0])), found

            return jax.value_and_grad(loss, has_aux=True)(params)

        return scalar(True), scalar(False)

    ((_, (plain, plain_cache)), plain_gradient), ((_, (fast, fast_cache)), gradient) = both(params)
    assert_close(plain, logits)
    assert set(plain_cache) == set(cache) and set(fast_cache) == ({"mlp_post"} if "mlp_post" in cache else set())
    for name in fast_cache:  # of the last layer, at the positions that are read
        assert_close(fast_cache[name], plain_cache[name][-1:, :, -1:] if net.readout == "last" else plain_cache[name][-1:])
    for name in cache:
        assert_close(plain_cache[name], cache[name])
    pattern = np.asarray(plain_cache["pattern"])
    np.testing.assert_allclose(pattern.sum(axis=-1), 1, rtol=1e-6)
    assert (pattern[..., ~np.tri(P, dtype=bool)] == 0).all() == net.causal
    assert_close(fast, plain)
    for name in params:
        off = np.linalg.norm(gradient[name] - plain_gradient[name])
        assert off <= 1e-5 * np.linalg.norm(plain_gradient[name]), name


def test_a_first_layer_from_tables_without_a_table_of_pairs_is_the_plain_one_with_gradients():
    net = small(d_vocab=20)  # 4 V <= B and V² > 4 B
    params, tokens = weights(net), np.random.default_rng(0).integers(0, 20, (90, P))

    @partial(jax.jit, static_argnums=1, compiler_options=QUICK)
    def gradient(params, full):
        return jax.grad(lambda params: jnp.sum(jnp.tanh(net.apply(params, tokens, full=full)[0])))(params)

    jax.tree.map(partial(assert_close, share=1e-4), gradient(params, False), gradient(params, True))


@pytest.mark.parametrize("d_mlp", [12, 0])
def test_cache_has_transformer_lens_names_and_a_layer_axis_first(d_mlp):
    net = small(n_layers=2, d_mlp=d_mlp)
    _, cache = jax.eval_shape(lambda params: net.apply(params, some_tokens(7)), weights(net))
    resid, head, square = (2, 7, P, 8), (2, 7, 2, P, 4), (2, 7, 2, P, P)
    shapes = dict.fromkeys(("resid_pre", "attn_out", "resid_post"), resid)
    shapes |= dict.fromkeys("qkvz", head) | dict.fromkeys(("scores", "pattern"), square) | {"result": (2, 7, 2, P, 8)}
    if d_mlp:
        shapes |= {"mlp_pre": (2, 7, P, 12), "mlp_post": (2, 7, P, 12), "mlp_out": resid}
    assert {name: x.shape for name, x in cache.items()} == shapes


def test_nandas_network_has_226_816_parameters_by_their_names():
    shapes = {name: x.shape for name, x in jax.eval_shape(NANDA.init, KEY).items()}
    assert shapes == {
        "W_E": (114, 128), "W_pos": (3, 128), "W_U": (128, 114),
        "W_Q": (1, 4, 128, 32), "W_K": (1, 4, 128, 32), "W_V": (1, 4, 128, 32), "W_O": (1, 4, 32, 128),
        "W_in": (1, 128, 512), "b_in": (1, 512), "W_out": (1, 512, 128), "b_out": (1, 128),
    }  # fmt: skip
    assert sum(math.prod(shape) for shape in shapes.values()) == 226_816


def test_layer_norm_adds_its_parameters_and_attention_only_has_no_mlp():
    plain = set(jax.eval_shape(small().init, KEY))
    with_norm = jax.eval_shape(small(layer_norm=True, n_layers=2).init, KEY)
    norms = {f"{name}_{part}" for name in ("ln1", "ln2", "ln_final") for part in "wb"}
    assert set(with_norm) == plain | norms
    without_mlp = set(jax.eval_shape(small(layer_norm=True, d_mlp=0).init, KEY))
    assert {name for name in without_mlp if name[:2] == "ln"} == norms - {"ln2_w", "ln2_b"}
    assert with_norm["ln1_w"].shape == (2, 8) and with_norm["ln_final_b"].shape == (8,)
    assert set(jax.eval_shape(small(d_mlp=0).init, KEY)) == plain - {"W_in", "b_in", "W_out", "b_out"}


init = jax.jit(
    lambda scale, key: NANDA.with_fields(layer_norm=True, init_scale=scale).init(key), compiler_options=QUICK
)


def test_initial_weights_have_nandas_spread():
    params = init(1.0, KEY)
    for name, w in params.items():
        if name[0] == "b" or name[:2] == "ln":
            assert (w == (name[-1] == "w")).all()
            continue
        sd = 114**-0.5 if name == "W_U" else 128**-0.5
        np.testing.assert_allclose(np.std(w), sd, rtol=5 / (2 * w.size) ** 0.5)
        assert abs(np.mean(w)) < 5 * sd / w.size**0.5
    flat = np.stack([np.ravel(params[name]) for name in ("W_Q", "W_K", "W_V", "W_O")])
    assert abs(np.corrcoef(flat) - np.eye(4)).max() < 5 / flat.shape[1] ** 0.5  # each drawn on its own
    assert (params["W_E"] != init(1.0, jax.random.key(1))["W_E"]).all()


def test_init_scale_multiplies_every_weight_but_layer_norms():
    one, two = init(1.0, KEY), init(2.0, KEY)
    for name in one:
        np.testing.assert_array_equal(two[name], one[name] if name[:2] == "ln" else 2 * one[name])


@pytest.mark.parametrize("causal", [True, False])
def test_logits_depend_on_later_tokens_only_without_the_causal_mask(causal):
    net = small(n_layers=2, causal=causal)
    params, tokens = weights(net), some_tokens(2)

    def logits(delta):
        return net.apply(params, tokens, {"resid_pre": lambda x, layer: x + delta if layer == 0 else x})[0]

    jacobian = jax.jit(jax.jacobian(logits), compiler_options=QUICK)(
        np.zeros((2, P, 8), np.float32)
    )  # [B, P, C, B, P, d_model]
    depends = np.asarray(abs(jacobian).sum(axis=(2, 5)) > 0)  # [B, P, B, P]
    allowed = np.tril(np.ones((P, P), bool)) if causal else np.ones((P, P), bool)
    np.testing.assert_array_equal(depends, np.eye(2, dtype=bool)[:, None, :, None] & allowed[:, None])


def test_gelu_is_the_exact_one():
    x = np.linspace(-6, 6, 200)
    exact = 0.5 * x * (1 + np.vectorize(math.erf)(x / 2**0.5))
    tanh = 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(ACTIVATIONS["gelu"](np.float32(x)), exact, atol=1e-6)
    assert abs(exact - tanh).max() > 1e-4


TWO = small(n_layers=2)
W2, TOKENS = weights(TWO), some_tokens(6)


def test_an_identity_patch_changes_nothing():
    logits, cache = TWO.apply(W2, TOKENS)
    same_logits, same_cache = TWO.apply(W2, TOKENS, {name: lambda value, layer: value for name in cache})
    np.testing.assert_array_equal(same_logits, logits)
    jax.tree.map(np.testing.assert_array_equal, same_cache, cache)


def test_zeroing_a_heads_z_takes_away_its_contribution():
    net = small(d_mlp=0)
    params = weights(net)
    logits, cache = net.apply(params, TOKENS)
    patched, patched_cache = net.apply(params, TOKENS, {"z": lambda z, layer: z.at[:, 1].set(0)})
    contribution = cache["z"][0, :, 1] @ params["W_O"][0, 1]  # [B, P, d_model]
    assert_close(patched, logits - contribution @ params["W_U"])
    assert_close(patched_cache["attn_out"][0], cache["attn_out"][0] - contribution)
    assert not np.asarray(patched_cache["z"])[0, :, 1].any()  # the cache holds what went on


def test_a_patch_is_called_for_each_layer_with_its_number_and_changes_what_follows_only():
    seen, (logits, cache) = [], TWO.apply(W2, TOKENS)
    for name, value in cache.items():

        def second(value, layer, name=name):
            seen.append((name, layer, value.shape))
            return 1.5 * value if layer == 1 else value

        patched_logits, patched = TWO.apply(W2, TOKENS, {name: second})
        np.testing.assert_array_equal(patched[name][1], 1.5 * value[1])
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), patched, cache)
        assert (patched_logits[:, -1] != logits[:, -1]).all(), name
    assert seen == [(name, layer, value[0].shape) for name, value in cache.items() for layer in (0, 1)]


def test_an_unknown_patch_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"patch names \['zz'\]: .*resid_pre, q, k, v, .*, mlp_pre, .*resid_post\.$"):
        TWO.apply(W2, TOKENS, {"zz": lambda value, layer: value})
    without = small(d_mlp=0)
    with pytest.raises(ValueError, match=r"patch names \['mlp_post'\]: .*attn_out, resid_post\.$"):
        without.apply(weights(without), TOKENS, {"mlp_post": lambda value, layer: value})


def test_the_fast_path_refuses_a_patch():
    with pytest.raises(ValueError, match=r"^patch needs full=True"):
        TWO.apply(W2, TOKENS, {"z": lambda value, layer: value}, full=False)
    TWO.apply(W2, TOKENS, {}, full=False)


def no_attention(value, layer):
    return jnp.zeros_like(value)


def test_clamps_hold_in_every_call_and_a_patch_of_the_same_name_comes_first():
    clamped = small(n_layers=2, clamps=(("attn_out", no_attention),))
    expected = TWO.apply(W2, TOKENS, {"attn_out": no_attention})[0]
    for full in (True, False):
        np.testing.assert_array_equal(clamped.apply(W2, TOKENS, full=full)[0], expected)
    both = clamped.apply(W2, TOKENS, {"mlp_out": no_attention})[0]
    np.testing.assert_array_equal(both, TWO.apply(W2, TOKENS, {"attn_out": no_attention, "mlp_out": no_attention})[0])
    lifted = clamped.apply(W2, TOKENS, {"attn_out": lambda value, layer: value})[0]
    np.testing.assert_array_equal(lifted, TWO.apply(W2, TOKENS)[0])


@pytest.mark.parametrize("shape", [(3,), (2, 0), (2, P + 2), (2, P, 1)])
@pytest.mark.parametrize("full", [True, False])
def test_tokens_of_another_shape_are_refused(shape, full):
    with pytest.raises(ValueError, match=r"^tokens has shape .*: it must be \[batch, 1 to 4 positions\]\.$"):
        TWO.apply(W2, np.zeros(shape, int), full=full)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"^net\.d_model is 9: it must be divisible by net\.n_heads, which is 2\.$"):
        small(d_model=9).check()
    assert TWO.check() == TWO
