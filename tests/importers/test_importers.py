"""Imported weights by function: published models by their accuracy and logits, the other layouts by a forward pass in the
orientation of their authors. All matrices of those are square, so that only the function tells one from its transpose."""

import json
from functools import partial

import jax
import numpy as np
import pytest

from toylab import importers
from toylab.models import BiasedTransformer, ModularMLP, Net, PizzaLinear, PizzaTransformer, ToyModel, Transformer

PAIRS = np.stack(np.divmod(np.arange(59 * 59), 59), axis=1)


@pytest.fixture(scope="module")
def published(reference):
    """The folder with the models of Zhong et al. 2023, and what was measured on ten of them."""
    folder = reference / "pizza"
    return folder, json.loads((folder / "golden.json").read_text())["models"]


@partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
def logits_of(net, params, tokens):
    return net.apply(params, tokens, full=False)[0]


RUNS = {  # errors on all pairs: of golden.json, and of a PyTorch forward pass where that has none
    "18c9ev5v5p": 0, "2fsoiei4o2": 0, "2k4ohj6bhd": 0, "4asyr7ht1p": 0, "7r4zst7evs": 0, "amw6ox6bzn": 0,
    "dy65ktpiij": 110, "f5dh675z97": 3418, "h9m153uuh9": 0, "hpv2jgskwe": 2541, "kboioj4ulz": 0, "l8k1hzciux": 0,
    "n9n7h3p965": 1453, "p71frej8t7": 0, "p99zdpze5l": 0, "q9rsl94xlv": 0, "qlvxqhkvit": 0, "w386br1duh": 0,
}  # fmt: skip


@pytest.mark.parametrize("run", RUNS)
def test_a_published_model_has_its_accuracy_and_logits(published, run):
    folder, golden = published
    net, params = importers.load(folder / f"{run}.npz", "pizza")
    tokens = PAIRS + np.array([0, 59 if net.d_vocab == 118 else 0])
    logits = np.asarray(logits_of(net, params, tokens))[:, :59]
    assert np.count_nonzero(logits.argmax(1) != PAIRS.sum(1) % 59) == RUNS[run]
    norm = sum(float((np.float64(x) ** 2).sum()) for x in params.values()) ** 0.5
    if (known := golden.get(run)) is not None:
        assert known["n_errors"] == RUNS[run]
        probes = [logits[0, 0], logits[1234, 17], logits[3480, 58]]
        np.testing.assert_allclose(probes, known["logits_sha_probe"], atol=1e-3)
        np.testing.assert_allclose(logits.std(), known["logits_std"], rtol=1e-4)
        np.testing.assert_allclose(norm, known["param_l2_norm"], rtol=1e-5)


N, D_HEAD = 6, 3  # tokens, widths; two heads of 3 make a square W_O
SQUARE = np.stack(np.divmod(np.arange(N * N), N), axis=1)


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {key: np.float32(rng.normal(size=shape) / shape[-1] ** 0.5) for key, shape in shapes.items()}


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def relu(x):
    return np.maximum(x, 0)


def columns(n_layers, n_ctx, **more):
    """A source in the orientation of Nanda et al. and Zhong et al., with their mask."""
    block = {
        **{f"attn.W_{name}": (2, D_HEAD, N) for name in "QKV"}, "attn.W_O": (N, 2 * D_HEAD),
        "mlp.W_in": (N, N), "mlp.b_in": (N,), "mlp.W_out": (N, N), "mlp.b_out": (N,),
    }  # fmt: skip
    shapes = {"embed.W_E": (N, N), "pos_embed.W_pos": (n_ctx, N), "unembed.W_U": (N, N)}
    shapes |= {f"blocks.{layer}.{key}": shape for layer in range(n_layers) for key, shape in block.items()}
    masks = {f"blocks.{layer}.attn.mask": np.tri(n_ctx, dtype=np.float32) for layer in range(n_layers)}
    return drawn(shapes) | masks | more


def columns_forward(w, tokens, causal=True, rate=1.0):
    w = {key: np.float64(value) for key, value in w.items()}
    x = np.moveaxis(w["embed.W_E"][:, tokens], 0, -1) + w["pos_embed.W_pos"][: tokens.shape[1]]
    n_layers = sum(key.endswith("W_Q") for key in w)
    for layer in range(n_layers):
        at = {key.removeprefix(f"blocks.{layer}."): value for key, value in w.items()}
        q, k, v = (np.einsum("ihd,bpd->biph", at[f"attn.W_{name}"], x) for name in "QKV")
        scores = np.einsum("biph,biqh->biqp", k, q) / D_HEAD**0.5
        scores = np.where(np.tri(tokens.shape[1], dtype=bool) | (not causal), scores, -np.inf)
        z = np.einsum("biph,biqp->biqh", v, softmax(scores) * rate + 1 - rate)
        x = x + np.einsum("df,bqf->bqd", at["attn.W_O"], np.concatenate([z[:, 0], z[:, 1]], axis=-1))
        post = relu(np.einsum("md,bpd->bpm", at["mlp.W_in"], x) + at["mlp.b_in"])
        x = x + np.einsum("dm,bpm->bpd", at["mlp.W_out"], post) + at["mlp.b_out"]
    return x @ w["unembed.W_U"]


def lens(n_layers=2, n_ctx=3, biases=True, norm=True, mlp=True):
    """A HookedTransformer's state dict."""
    block = {f"attn.W_{name}": (2, N, D_HEAD) for name in "QKV"} | {"attn.W_O": (2, D_HEAD, N)}
    block |= {f"attn.b_{name}": (2, D_HEAD) for name in "QKV"} | {"attn.b_O": (N,)}
    block |= {"mlp.W_in": (N, N), "mlp.b_in": (N,), "mlp.W_out": (N, N), "mlp.b_out": (N,)} if mlp else {}
    norms = {f"{name}.{part}": (N,) for name in ("ln1", "ln2")[: 1 + mlp] for part in "wb"} if norm else {}
    shapes = {"embed.W_E": (N, N), "pos_embed.W_pos": (n_ctx, N), "unembed.W_U": (N, N), "unembed.b_U": (N,)}
    shapes |= {f"ln_final.{part}": (N,) for part in "wb"} if norm else {}
    shapes |= {f"blocks.{layer}.{key}": shape for layer in range(n_layers) for key, shape in (block | norms).items()}
    w = drawn(shapes)
    for key in w if not biases else ():
        if ".attn.b_" in key or key == "unembed.b_U":
            w[key] = np.zeros_like(w[key])
    for layer in range(n_layers):
        w[f"blocks.{layer}.attn.mask"] = np.tri(n_ctx, dtype=bool)
        w[f"blocks.{layer}.attn.IGNORE"] = np.float32(-np.inf)
    return w


def lens_forward(w, tokens):
    w = {key: np.float64(value) for key, value in w.items()}

    def norm(x, name):
        if "ln_final.w" not in w:
            return x
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.w"] + w[f"{name}.b"]

    x = w["embed.W_E"][tokens] + w["pos_embed.W_pos"][: tokens.shape[1]]
    for layer in range(sum(key.endswith("W_Q") for key in w)):
        at = f"blocks.{layer}."
        read = norm(x, f"{at}ln1")
        q, k, v = (
            np.einsum("bpd,hde->bhpe", read, w[f"{at}attn.W_{name}"]) + w[f"{at}attn.b_{name}"][:, None]
            for name in "QKV"
        )
        scores = np.where(np.tri(tokens.shape[1], dtype=bool), q @ np.swapaxes(k, 2, 3) / D_HEAD**0.5, -np.inf)
        x = x + np.einsum("bhpe,hed->bpd", softmax(scores) @ v, w[f"{at}attn.W_O"]) + w[f"{at}attn.b_O"]
        if f"{at}mlp.W_in" in w:
            post = relu(norm(x, f"{at}ln2") @ w[f"{at}mlp.W_in"] + w[f"{at}mlp.b_in"])
            x = x + post @ w[f"{at}mlp.W_out"] + w[f"{at}mlp.b_out"]
    return norm(x, "ln_final") @ w["unembed.W_U"] + w["unembed.b_U"]


def linear(kind):
    """A linear model of Zhong et al.; model D's embedding has half the width, so that l1 is square."""
    shapes = {"embed.weight": (N, N // 2 if kind == "D" else N), "unembed.weight": (N, N)}
    layers = ("l1", "l2") if kind in "BC" else ("l1",)
    return drawn(shapes | {f"{name}.weight": (N, N) for name in layers} | {f"{name}.bias": (N,) for name in layers})


def linear_forward(w, tokens, kind):
    w = {key: np.float64(value) for key, value in w.items()}
    a, b = w["embed.weight"][tokens[:, 0]], w["embed.weight"][tokens[:, 1]]
    twice = w["l1.bias"] * (kind == "C")
    h = relu((np.hstack([a, b]) if kind == "D" else a + b) @ w["l1.weight"].T + w["l1.bias"] + twice)
    h = relu(h @ w["l2.weight"].T + w["l2.bias"]) if "l2.weight" in w else h
    return h @ w["unembed.weight"].T


def universal_forward(w, tokens):
    x = np.hstack([w["W_x"][tokens[:, 0]], w["W_y"][tokens[:, 1]]]).astype(np.float64)
    return relu(x @ w["W"]) @ w["W_U"]


TRIPLES = np.c_[SQUARE, np.full(N * N, N - 1)]
NANDA, PIZZA, LENS, FROZEN = columns(1, 3), columns(2, 2), lens(), lens(1, biases=False, norm=False)
UNIVERSAL = drawn({"W_x": (N, N), "W_y": (N, N), "W": (2 * N, N), "W_U": (N, N)})
LINEAR = {kind: linear(kind) for kind in "ABCD"}
SAYS = {"act_fn": "relu", "positional_embedding_type": "standard", "attention_dir": "causal", "attn_scale": D_HEAD**0.5}
CASES = {  # layout, source, config, inputs, logits by the authors' formula, module
    "progress_measures": (NANDA, {"act_type": "ReLU"}, TRIPLES, columns_forward(NANDA, TRIPLES), Transformer),
    "pizza": (
        PIZZA, {"attn_coeff": 0.3, "act_fn": "ReLU"}, SQUARE, columns_forward(PIZZA, SQUARE, False, 0.3), PizzaTransformer,
    ),
    **{
        f"pizza {kind}": (w, {"model_type": kind}, SQUARE, linear_forward(w, SQUARE, kind), PizzaLinear)
        for kind, w in LINEAR.items()
    },
    "transformer_lens": (LENS, SAYS, TRIPLES, lens_forward(LENS, TRIPLES), BiasedTransformer),
    "universality": (UNIVERSAL, {}, SQUARE, universal_forward(UNIVERSAL, SQUARE), ModularMLP),
    "universality transformer": (FROZEN, {}, TRIPLES, lens_forward(FROZEN, TRIPLES)[:, -1], Transformer),
}  # fmt: skip
cases = pytest.mark.parametrize("case", CASES)


@cases
def test_a_layout_gives_its_authors_logits(case):
    source, config, tokens, wanted, module = CASES[case]
    net, params = importers.load(source, case.split()[0], config=config, probe=(tokens, wanted))
    assert net.module is module
    found = logits_of(net, params, tokens)
    np.testing.assert_allclose(found, wanted[:, -1] if wanted.ndim > found.ndim else wanted, rtol=1e-3, atol=1e-4)


@cases
def test_a_transposed_square_array_passes_all_but_the_probe_which_names_it(case):
    source, config, tokens, wanted, _ = CASES[case]
    square = [
        key
        for key, x in source.items()
        if x.ndim == 2 and x.shape == (N, N) and "mask" not in key and "W_pos" not in key
    ]
    for key in square[:: max(1, len(square) // 2)]:
        turned = {**source, key: source[key].T}
        importers.load(turned, case.split()[0], config=config)
        with pytest.raises(
            ValueError, match=rf"^probe: logits are off by up to \d.* at \[.*\]: {key} lies transposed\.$"
        ):
            importers.load(turned, case.split()[0], config=config, probe=(tokens, wanted))


@cases
def test_there_and_back_again_is_exact(case, tmp_path):
    source, config, _, _, _ = CASES[case]
    layout = case.split()[0]
    net, params = importers.load(source, layout, config=config)
    importers.save(params, tmp_path / "theirs.safetensors", layout, net=net)
    importers.save(params, tmp_path / "ours.safetensors", "toylab", net=net)
    arrays, _ = importers.safetensors.read(tmp_path / "theirs.safetensors")
    weights = {key: x for key, x in source.items() if not key.endswith(("mask", "IGNORE"))}
    assert set(arrays) == set(weights)
    for key, x in weights.items():
        np.testing.assert_array_equal(arrays[key], x)
    for name, kind in (("theirs", layout), ("ours", "toylab")):  # without a config: the file says it
        again, same = importers.load(tmp_path / f"{name}.safetensors", kind)
        assert again == net
        assert set(same) == set(params) and all((same[key] == params[key]).all() for key in params)


@pytest.mark.parametrize("bias", ["b_final", "b", None])
def test_a_toy_model_comes_back_with_its_bias_and_activations(bias, tmp_path):
    """Of three instances one is loaded, saved and loaded without a config, in either layout."""
    source = drawn({"W": (3, 5, 2)} | ({bias: (3, 5)} if bias else {}))
    net, params = importers.load(source, "toy_models", config={"instance": 1, "hidden": "relu", "output": "linear"})
    for layout in ("toy_models", "toylab"):
        importers.save(params, tmp_path / "toy.safetensors", layout, net=net)
        again, same = importers.load(tmp_path / "toy.safetensors", layout)
        assert again == net and same.keys() == params.keys() == ({"W", "b"} if bias else {"W"})
        assert all((same[name] == params[name]).all() for name in params)
    assert (params["W"] == source["W"][1]).all() and net.hidden == "relu" and net.output == "linear"


def test_layers_in_all_of_which_the_same_array_lies_transposed_are_named_together():
    source, config, tokens, wanted, _ = CASES["pizza"]
    turned = {key: x.T if key.endswith("mlp.W_in") else x for key, x in source.items()}
    with pytest.raises(ValueError, match=r"blocks\.\*\.mlp\.W_in lies transposed\.$"):
        importers.load(turned, "pizza", config=config, probe=(tokens, wanted))
    with pytest.raises(ValueError, match=r"\(.* for .*\): layout, config or the orientation of several"):
        importers.load(source, "pizza", config=config | {"attn_coeff": 0.9}, probe=(tokens, wanted))
    with pytest.raises(ValueError, match=r"^probe is a ndarray: it must be a pair, \(tokens, logits\)\.$"):
        importers.load(source, "pizza", config=config, probe=tokens)
    for inputs, logits in ((tokens[:0], wanted[:0]), (tokens, wanted[..., :0])):  # what agrees with everything
        with pytest.raises(ValueError, match=r"^probe is empty: it must have the inputs and logits of one example"):
            importers.load(source, "pizza", config=config, probe=(inputs, logits))
    with pytest.raises(ValueError, match=r"^probe has logits of shape \[36, 5\]: the network gives \[36, 6\]\.$"):
        importers.load(source, "pizza", config=config, probe=(tokens, wanted[:, -1, :5]))


def test_attention_only_and_layer_norm_without_weights():
    source = lens(1, biases=False, norm=False, mlp=False)
    net, params = importers.load(
        source, "transformer_lens", config=SAYS | {"normalization_type": "LNPre", "readout": "last"}
    )
    unit = {f"{name}.{part}": np.full(N, float(part == "w")) for name in ("blocks.0.ln1", "ln_final") for part in "wb"}
    wanted = lens_forward(source | unit, TRIPLES)[:, -1]
    np.testing.assert_allclose(logits_of(net, params, TRIPLES), wanted, rtol=1e-3, atol=1e-4)
    assert net.d_mlp == 0 and net.layer_norm


def test_toy_models_are_read_one_instance_at_a_time():
    source = drawn({"W": (3, 4, 4), "b_final": (3, 4)})
    x = np.random.default_rng(0).random((5, 4), np.float32)
    wanted = relu(x @ source["W"][1] @ source["W"][1].T + source["b_final"][1])
    net, params = importers.load(source, "toy_models", config={"instance": 1}, probe=(x, wanted))
    assert net.module is ToyModel and params["W"].shape == (4, 4)
    with pytest.raises(ValueError, match=r"^config\.instance is None: W has 3 instances, so it must be 0 to 2; "):
        importers.load(source, "toy_models")
    turned = source | {"W": np.swapaxes(source["W"], 1, 2)}
    with pytest.raises(ValueError, match="W lies transposed"):
        importers.load(turned, "toy_models", config={"instance": 1}, probe=(x, wanted))


def test_reference_toy_models_have_their_evaluated_loss(reference):
    folder = reference / "superposition" / "trained"
    with np.load(folder / "intro_n5_m2.npz") as found, np.load(folder / "intro_n5_m2.eval.npz") as evaluated:
        source = {"W": found["W"], "b_final": found["b"]}
        for i in (0, 9):
            net, params = importers.load(source, "toy_models", config={"instance": i})
            out = logits_of(net, params, evaluated["X"][:8, i])
            np.testing.assert_allclose(out, evaluated["out_first8_f64"][:, i], atol=1e-5)


def test_toylabs_own_arrays_say_their_module_and_config_what_else_it_depends_on():
    net = Net.of(Transformer, d_vocab=N, d_vocab_out=N, n_ctx=3, d_model=N, n_heads=2, d_mlp=N)
    params = drawn({name: x.shape for name, x in jax.eval_shape(net.init, jax.random.key(0)).items()})
    says = {"activation": "relu", "causal": True, "positions": "abs", "readout": "last"}
    assert importers.load(params, "toylab", config=says)[0].with_fields(d_head=0) == net
    for left_out in says:
        with pytest.raises(
            ValueError, match=rf"^config lacks {left_out} \(.* or .*\): the arrays do not say it; .*\.$"
        ):
            importers.load(params, "toylab", config={name: value for name, value in says.items() if name != left_out})
    pizza = {"module": "PizzaTransformer", "attention_rate": 0.5, "activation": "relu"}
    again, _ = importers.load(params, "toylab", config=pizza)
    assert again.module is PizzaTransformer and again.attention_rate == 0.5
    with pytest.raises(ValueError, match=r"^config lacks attention_rate \(a number\)"):
        importers.load(params, "toylab", config={name: pizza[name] for name in ("module", "activation")})
    machine = {"module": "InductionMachine", "d_vocab": 5, "n_ctx": 4}
    made = Net.of(importers.toys.module_of(machine, Net), d_vocab=5, n_ctx=4)
    shapes = {name: x.shape for name, x in jax.eval_shape(made.init, jax.random.key(0)).items()}
    assert importers.load(drawn(shapes), "toylab", config=machine)[0] == made
    with pytest.raises(ValueError, match=r"^config\.module is 'Zz': it must be one of BiasedTransformer, "):
        importers.load(params, "toylab", config={"module": "Zz"})
    for slip, reports in (
        ({"d_vocab": 1.5}, "d_vocab is 1.5: it must be a whole number."),
        ({"causal": 1}, "causal is 1: it must be true or false."),
        ({"init_scale": "1"}, "init_scale is '1': it must be a number."),
        ({"activation": "tanh"}, "activation is 'tanh': it must be one of relu, gelu, gelu_new."),
        (
            machine | {"n_ctx": 10**5},
            "n_ctx is 100000: no axis of the arrays has more than ",
        ),  # no such weights are made
    ):
        with pytest.raises(ValueError) as error:
            importers.load(drawn(shapes) if "module" in slip else params, "toylab", config=slip)
        assert str(error.value).startswith(f"config.{reports}")
