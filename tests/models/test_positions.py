"""The transformer's positions, inputs and read-out: golden models, both paths, causality, each option by its formula."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.losses import cross_entropy
from toylab.models import Net, Transformer
from toylab.models.positions import by_key, rotated

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
B, P, V, D, H = 3, 5, 7, 12, 3
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
GOLDEN = {"g1_abs_noln": "abs", "g3_shortformer": "shortformer", "g4_rotary": "rotary", "g6_handbuilt_induction": "abs"}
CASES = [  # every positions with both read-outs or LayerNorm, every kind of input, hidden read-out layers, one head
    {"positions": "abs", "inputs": "vectors", "readout": "last"},
    {"positions": "shortformer", "layer_norm": True},
    {"positions": "shortformer", "readout": "last"},
    {"positions": "rotary", "readout": "last", "inputs": "residual"},
    {"positions": "relative", "layer_norm": True, "readout_layers": 2},
    {"positions": "relative", "readout": "last"},
    {"positions": "none", "d_mlp": 10, "layer_norm": True, "readout_layers": 1},
    {"positions": "none", "n_heads": 1},
    {"positions": "rotary", "n_heads": 1, "d_head": 24},  # wide heads and few positions
    {"positions": "none", "readout": "last", "n_heads": 1, "layer_norm": True, "output_matrix": False},
]


def small(**fields):
    width = D if fields.get("inputs") == "residual" else V
    sizes = {"d_vocab": width, "d_vocab_out": V, "n_ctx": P + 2, "n_layers": 2, "d_model": D, "n_heads": H, "d_mlp": 0}
    return Net.of(Transformer, **{**sizes, "readout": "all", **fields})


def weights(net):
    """Weights in general position: no bias 0, no LayerNorm 1."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(net.init, KEY)
    return {name: np.float32(0.4 * rng.normal(size=x.shape) + (name[-2:] == "_w")) for name, x in shapes.items()}


def some_input(net):
    if net.inputs == "tokens":
        return RNG.integers(0, V, (B, P))
    return RNG.normal(size=(B, P, net.d_vocab)).astype(np.float32)


def assert_close(found, expected, share):
    """To `share` of the largest entry."""
    size = np.abs(np.where(np.isfinite(expected), expected, 0)).max()
    np.testing.assert_allclose(found, expected, rtol=share, atol=share * size)


@partial(jax.jit, compiler_options=QUICK)
def of_both_paths(net, params, tokens):
    logits, cache = net.apply(params, tokens)
    fast, _ = net.apply(params, tokens, full=False)
    return logits, cache, fast, cross_entropy(logits[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_models_come_out_in_both_precisions_and_on_both_paths(name, reference):
    golden = np.load(reference / "attention" / f"{name}.npz")
    params = {key[2:].replace("W_P", "W_pos"): golden[key] for key in golden.files if key.startswith("w_")}
    n_layers, n_heads, d_model, d_head = params["W_Q"].shape
    net = Net.of(
        Transformer, d_vocab=len(params["W_E"]), d_vocab_out=params["W_U"].shape[1], n_ctx=golden["tokens"].shape[1],
        n_layers=n_layers, d_model=d_model, n_heads=n_heads, d_head=d_head, d_mlp=0, positions=GOLDEN[name],
        readout="all",
    ).check()  # fmt: skip
    assert {key: x.shape for key, x in jax.eval_shape(net.init, KEY).items()} == {
        key: x.shape for key, x in params.items()
    }
    exact = 1e-8 if name.startswith("g6") else 1e-10
    for dtype, tolerance in (("float64", exact), ("float32", 1e-5)):
        with jax.enable_x64(dtype == "float64"):
            own = {key: jnp.asarray(x, dtype) for key, x in params.items()}
            logits, cache, fast, loss = of_both_paths(net, own, golden["tokens"])
            assert logits.dtype == dtype
        assert_close(logits, golden["logits"], tolerance)
        assert_close(fast, golden["logits"], tolerance)
        assert_close(loss, golden["loss_per_token"], tolerance)
        names = {"pattern": "pattern", "z": "z", "head_out": "result", "resid_pre": "resid_pre"}
        for theirs, ours in {**names, "resid_post": "resid_post"}.items():
            for layer in range(n_layers):
                if f"{theirs}_{layer}" in golden:
                    assert_close(cache[ours][layer], golden[f"{theirs}_{layer}"], tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_fast_path_is_the_plain_one_with_gradients_and_what_comes_later_changes_nothing(case):
    net = small(**case).check()
    params, x = weights(net), some_input(net)

    @partial(jax.jit, compiler_options=QUICK)
    def both(params, direction):
        def loss(params, full):
            logits = net.apply(params, x, full=full)[0]
            return jnp.sum(direction * jnp.tanh(logits)), logits

        plain, fast = (jax.value_and_grad(partial(loss, full=full), has_aux=True)(params) for full in (True, False))

        def at_position_2(delta):
            patch = {"resid_pre": lambda value, layer: value + delta if layer == 0 else value}
            return jnp.sum(jnp.tanh(net.apply(params, x, patch)[0][:, 2 if net.readout == "all" else -1]))

        return plain, fast, jax.grad(at_position_2)(jnp.zeros((B, P, D)))

    direction = RNG.normal(size=(B, V) if net.readout == "last" else (B, P, V))
    ((_, plain), plain_gradient), ((_, fast), gradient), by_position = both(params, np.float32(direction))
    assert_close(fast, plain, 1e-5)
    for name in params:
        off = np.linalg.norm(gradient[name] - plain_gradient[name])
        assert off <= 1e-5 * np.linalg.norm(plain_gradient[name]) > 0, name
    seen = np.abs(by_position).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(seen, [True] * 3 + [net.readout == "last"] * 2)


def test_relative_scores_are_those_of_a_literal_loop():
    net = small(positions="relative")
    params = weights(net)
    _, cache = net.apply(params, some_input(net))
    for layer, b, h, t, s in np.ndindex(2, B, H, P, P):
        q, k = cache["q"][layer, b, h, t], cache["k"][layer, b, h, s]
        expected = q @ (k + params["W_rel"][layer, h, t - s]) / (D // H) ** 0.5 if s <= t else -np.inf
        np.testing.assert_allclose(cache["scores"][layer, b, h, t, s], expected, rtol=1e-4, atol=1e-5)


def test_scores_by_distance_become_scores_by_key_for_any_last_queries():
    by_distance = RNG.normal(size=(2, P, P))
    for n_queries in (1, 3, P):
        found = by_key(by_distance[:, P - n_queries :])
        assert found.shape == (2, n_queries, P)
        for t in range(P - n_queries, P):
            for s in range(t + 1):
                np.testing.assert_array_equal(found[:, t - P + n_queries, s], np.float32(by_distance[:, t, t - s]))


def test_a_rotation_turns_complex_pairs_by_their_position():
    with jax.enable_x64():
        x = RNG.normal(size=(2, P, 8))
        angle = np.arange(P)[:, None] * 10000.0 ** (-np.arange(0, 8, 2) / 8)
        turned = (x[..., :4] + 1j * x[..., 4:]) * np.exp(1j * angle)
        np.testing.assert_allclose(rotated(x, P), np.concatenate([turned.real, turned.imag], axis=-1), atol=1e-14)
        np.testing.assert_allclose(rotated(x[:, 3:], P), rotated(x, P)[:, 3:], atol=1e-14)


def test_shortformer_values_and_residual_know_no_position():
    net = small(positions="shortformer", layer_norm=True)
    params, tokens = weights(net), np.full((1, P), 3)
    _, cache = net.apply(params, tokens)
    for name, alike in {"resid_pre": True, "v": True, "q": False, "k": False}.items():
        first = np.asarray(cache[name][0])
        assert (first == first[..., :1, :]).all() == alike, name


def test_inputs_as_vectors_and_as_the_residual_are_the_tokens_own():
    tokens = RNG.integers(0, V, (B, P))
    for positions in ("abs", "rotary"):
        by_token = small(positions=positions)
        params = weights(by_token)
        logits, _ = by_token.apply(params, tokens)
        vectors, _ = small(positions=positions, inputs="vectors").apply(params, np.eye(V, dtype=np.float32)[tokens])
        without = {name: x for name, x in params.items() if name != "W_E"}
        residual, _ = small(positions=positions, inputs="residual").apply(without, params["W_E"][tokens])
        assert_close(vectors, logits, 1e-5)
        assert_close(residual, logits, 1e-6)


def test_hidden_read_out_layers_are_relu_layers_before_the_unembedding():
    net = small(readout_layers=2)
    params = weights(net)
    logits, cache = net.apply(params, some_input(net))
    x = np.float64(cache["resid_post"][-1])
    for layer in range(2):
        x = np.maximum(x @ params["W_R"][layer] + params["b_R"][layer], 0)
    assert_close(logits, x @ params["W_U"], 1e-5)


def test_without_an_output_matrix_the_heads_add_their_z_side_by_side():
    net = small(output_matrix=False)
    params, with_one = weights(net), small()
    assert set(weights(with_one)) - set(params) == {"W_O"}
    x = some_input(net)
    blocks = np.broadcast_to(np.eye(D, dtype=np.float32).reshape(H, D // H, D), (2, H, D // H, D))
    logits, cache = net.apply(params, x)
    assert_close(logits, with_one.apply({**params, "W_O": blocks}, x)[0], 1e-6)
    assert_close(net.apply(params, x, full=False)[0], logits, 1e-5)
    side_by_side = np.moveaxis(cache["z"], 2, 3).reshape(2, B, P, D)
    assert_close(cache["attn_out"], side_by_side, 1e-6)


@pytest.mark.parametrize("name", ["q_input", "k_input", "v_input"])
def test_a_patched_input_is_the_residual_as_that_head_reads_it(name):
    net = small(positions="shortformer", layer_norm=True)
    params, tokens = weights(net), RNG.integers(0, V, (B, P))
    logits, cache = net.apply(params, tokens)
    same, same_cache = net.apply(params, tokens, {name: lambda value, layer: value})
    assert set(same_cache) == set(cache)
    assert_close(same, logits, 1e-5)
    delta, seen = RNG.normal(size=(B, P, D)).astype(np.float32), []

    def on_head_1(value, layer):
        seen.append((layer, value.shape))
        return value.at[:, 1].add(delta) if layer == 1 else value

    _, found = net.apply(params, tokens, {name: on_head_1})
    assert seen == [(layer, (B, H, P, D)) for layer in (0, 1)]
    _, moved = net.apply(params, tokens, {"resid_pre": lambda value, layer: value + delta if layer == 1 else value})
    for other in "qkv":
        expected = cache[other][1].at[:, 1].set(moved[other][1][:, 1]) if other == name[0] else cache[other][1]
        assert_close(found[other][1], expected, 1e-5)
    assert_close(found["resid_pre"][1], cache["resid_pre"][1], 1e-6)  # the residual itself goes on as it was


def test_existing_options_start_from_the_same_draws_whatever_else_is_chosen():
    init = jax.jit(lambda net: net.init(KEY), compiler_options=QUICK)
    plain = init(small(layer_norm=True, d_mlp=4))
    more = init(small(layer_norm=True, d_mlp=4, readout_layers=1, d_head=D // H))
    for name, value in plain.items():
        np.testing.assert_allclose(value, more[name], rtol=1e-5, atol=1e-7)  # two programs: the last digits may differ
    assert not more["b_R"].any() and abs(np.std(more["W_R"]) * D**0.5 - 1) < 0.2
    assert jax.eval_shape(small(d_head=5).init, KEY)["W_O"].shape == (2, H, 5, D)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"positions": "learned"}, "net.positions is 'learned': it must be one of abs, sinusoidal, shortformer, "),
        ({"positions": "rotary", "n_heads": 4}, "net.positions is rotary and a head has 3 dimensions: it must be even."),
        ({"positions": "relative", "causal": False}, "net.positions is relative and net.causal false: "),
        ({"n_heads": 5}, "net.d_model is 12: it must be divisible by net.n_heads, which is 5."),
        ({"output_matrix": False, "d_head": 5}, r"net.output_matrix is false: net.n_heads · net.d_head must then be"),
        ({"inputs": "residual", "d_vocab": 7}, "net.d_vocab is 7: with inputs residual it must be net.d_model, 12."),
    ],
)  # fmt: skip
def test_sizes_that_do_not_go_together_are_refused(fields, message):
    with pytest.raises(ValueError, match="^" + message):
        small(**fields).check()


@pytest.mark.parametrize("full", [True, False])
def test_inputs_of_another_shape_or_kind_are_refused(full):
    tokens, vectors = small(positions="none"), small(inputs="vectors")
    for net, x, message in [
        (tokens, np.zeros((2, P + 3), int), r"tokens has shape \(2, 8\): it must be \[batch, 1 to 7 positions\]\.$"),
        (tokens, np.zeros((2, P), np.float32), "the input has dtype float32: it must hold whole numbers, tokens"),
        (vectors, np.zeros((2, P, 6), np.float32), "x has vectors of width 6: it must be net.d_vocab, which is 7"),
        (vectors, np.zeros((2, P), int), r"x has shape \(2, 5\): it must be \[batch, 1 to 7 positions, 7\]"),
        (vectors, np.zeros((2, P, V), int), "the input has dtype int64: it must hold floats, for inputs vectors"),
    ]:
        with pytest.raises(ValueError, match="^" + message):
            net.apply(weights(net), x, full=full)
