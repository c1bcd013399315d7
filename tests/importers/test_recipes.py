"""Layouts of one's own, as mappings: a block of square matrices by its function, and whatever is refused of them."""

import numpy as np
import pytest

from toylab import importers, load
from toylab.importers.recipes import recipe
from toylab.models import ModularMLP, Transformer
from toylab.record import Recorder

N, H, P = 6, 2, 3
TOKENS = np.random.default_rng(0).integers(0, N, (20, P))
BLOCK = {
    "embed.weight": "W_E: d_vocab d_model",
    "pos": "W_pos: n_ctx d_model",
    "layers.{}.qkv.weight": "W_Q W_K W_V: (3 n_heads d_head) d_model -> 3 n_heads d_model d_head",
    "layers.{}.out.weight": "W_O: d_model (n_heads d_head) -> n_heads d_head d_model",
    "layers.{}.up.weight": "W_in: d_mlp d_model -> d_model d_mlp",
    "layers.{}.up.bias": "b_in: d_mlp",
    "layers.{}.down.weight": "W_out: d_model d_mlp -> d_mlp d_model",
    "layers.{}.down.bias": "b_out: d_model",
    "head.weight": "W_U: d_vocab_out d_model -> d_model d_vocab_out",
}
SAYS = {"n_heads": H, "activation": "relu", "causal": True, "positions": "abs", "readout": "last"}


def block(seed=0, n_layers=2):
    rng = np.random.default_rng(seed)
    shapes = {"embed.weight": (N, N), "pos": (P, N), "head.weight": (N, N)}
    for layer in range(n_layers):
        at = f"layers.{layer}."
        shapes |= {f"{at}qkv.weight": (3 * N, N)} | {f"{at}{name}.weight": (N, N) for name in ("out", "up", "down")}
        shapes |= {f"{at}{name}.bias": (N,) for name in ("up", "down")}
    return {key: np.float32(rng.normal(size=shape) / shape[-1] ** 0.5) for key, shape in shapes.items()}


def forward(w, tokens):
    """As a module of torch Linears has it: x Wᵀ + b."""
    w = {key: np.float64(value) for key, value in w.items()}
    x = w["embed.weight"][tokens] + w["pos"]
    for layer in range(sum(key.endswith("qkv.weight") for key in w)):
        at = f"layers.{layer}."
        q, k, v = np.split(x @ w[f"{at}qkv.weight"].T, 3, axis=-1)
        z = []
        for one in range(H):
            here = slice(one * N // H, (one + 1) * N // H)
            scores = q[..., here] @ np.swapaxes(k[..., here], 1, 2) / (N / H) ** 0.5
            weights = np.exp(np.where(np.tri(P, dtype=bool), scores, -np.inf))
            z.append(weights / weights.sum(-1, keepdims=True) @ v[..., here])
        x = x + np.concatenate(z, -1) @ w[f"{at}out.weight"].T
        post = np.maximum(x @ w[f"{at}up.weight"].T + w[f"{at}up.bias"], 0)
        x = x + post @ w[f"{at}down.weight"].T + w[f"{at}down.bias"]
    return x[:, -1] @ w["head.weight"].T


W = block()
PROBE = (TOKENS, forward(W, TOKENS))


def test_a_module_of_ones_own_gives_its_logits():
    net, params = importers.load(W, BLOCK, config=SAYS, probe=PROBE)
    assert net.module is Transformer and (net.n_layers, net.n_heads, net.d_mlp) == (2, H, N)
    # float32 against float64 through two layers of sums of 6 products: 1e-5 of the largest logit is 100 roundings
    np.testing.assert_allclose(net.apply(params, TOKENS)[0], PROBE[1], rtol=1e-5, atol=1e-5 * np.abs(PROBE[1]).max())


def test_without_a_probe_no_square_matrix_is_taken_on_trust():
    with pytest.raises(
        ValueError, match=r"^embed\.weight, head\.weight, layers\.0\.down\.weight, .* may lie otherwise"
    ):
        importers.load(W, BLOCK, config=SAYS)
    with pytest.raises(ValueError, match=r"give probe=\(tokens, logits\) of the original network, which tells\.$"):
        importers.load_many([W], BLOCK, config=SAYS, steps=[0])


@pytest.mark.parametrize("key", ["layers.{}.up.weight", "head.weight"])
def test_a_rule_that_transposes_a_square_matrix_is_found_by_the_probe(key):
    name, sides = BLOCK[key].split(": ")
    turned = BLOCK | {key: f"{name}: {sides.split(' -> ')[1]}"}
    with pytest.raises(ValueError, match=rf"{key.format('*')} lies transposed\.$".replace("*", r"\*")):
        importers.load(W, turned, config=SAYS, probe=PROBE)


def test_checkpoints_of_ones_own_are_a_sweep():
    every = [block(seed) for seed in (3, 4, 0)]
    sweep = importers.load_many(every, BLOCK, config=SAYS, steps=[0, 10, 20], probe=PROBE)
    net = sweep.config(0).net
    for i, w in enumerate(every):
        params = {name: value[0, i] for name, value in sweep.params.items()}
        np.testing.assert_allclose(net.apply(params, TOKENS)[0], forward(w, TOKENS), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"^probe: logits are off by up to "):  # it is of the last
        importers.load_many(every[::-1], BLOCK, config=SAYS, steps=[0, 10, 20], probe=PROBE)


def test_what_shapes_alone_tell_needs_no_probe_and_two_arrays_may_be_one_param():
    rng = np.random.default_rng(1)
    shapes = {"embed_a": (7, 3), "embed_b": (7, 3), "up.weight": (10, 6), "head.weight": (5, 10)}
    w = {key: np.float32(rng.normal(size=shape)) for key, shape in shapes.items()}
    layout = {
        "embed_{a,b}": "W_E: d_vocab d_model",
        "up.weight": "W_in: d_mlp (2 d_model) -> 2 d_model d_mlp",
        "head.weight": "W_U: d_vocab_out d_mlp -> d_mlp d_vocab_out",
    }
    tokens = np.array([[2, 6], [0, 0]])
    x = np.concatenate([w["embed_a"][tokens[:, 0]], w["embed_b"][tokens[:, 1]]], axis=1)
    wanted = np.maximum(x @ w["up.weight"].T, 0) @ w["head.weight"].T
    config = {"activation": "relu"}
    with pytest.raises(ValueError, match=r"^up\.weight may lie otherwise"):
        importers.load(w, layout, config=config)
    net, _ = importers.load(w, layout, config=config, probe=(tokens, wanted))
    assert net.module is ModularMLP and net.embedding == "separate"
    single = {"up.weight": "W_in: d_mlp d_model -> d_model d_mlp", "embed": "W_E: d_vocab d_model"}
    single |= {"bias": "b_in: d_mlp", "head.weight": layout["head.weight"]}
    shapes = {"embed": (7, 6), "up.weight": (10, 6), "bias": (10,), "head.weight": (5, 10)}
    w = {key: np.float32(rng.normal(size=shape)) for key, shape in shapes.items()}
    found = importers.load(w, single, config={"module": "PizzaLinear", "kind": "alpha"})[1]
    np.testing.assert_array_equal(found["W_in"], w["up.weight"].T)


def test_a_single_layer_has_the_axis_1():
    one = {key.replace("layers.0.", ""): x for key, x in block(n_layers=1).items()}
    layout = {}
    for key, text in BLOCK.items():
        name, sides = text.split(": ")
        theirs, ours = (sides.split(" -> ") * 2)[:2] if "->" in sides else (sides, sides)
        layer = "layers" in key
        ours = ours.replace("3 ", "3 1 ") if "3" in ours else f"1 {ours}"
        layout[key.replace("layers.{}.", "")] = f"{name}: {theirs} -> {ours}" if layer else text
    net, _ = importers.load(one, layout, config=SAYS, probe=(TOKENS, forward(block(n_layers=1), TOKENS)))
    assert net.n_layers == 1


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, r"^layout is an empty mapping: it must have a rule for each array\.$"),
        ({"a": "W_E"}, r"^layout has 'W_E' for a: it must be \"NAME: AXES\" or "),
        ({"a": 3}, r"^layout has 3 for a: it must be "),
        ({3: "W_E: a b"}, r"^layout has 'W_E: a b' for 3: it must be "),
        ({"a": "W_E: d_vocab d_model -> d_model"}, r"both sides must have the same axes, each once"),
        ({"a": "W_mid: d_mlp d_mlp"}, r"each once \(a second one of the same size with a prime, as d_mlp'\)\.$"),
        ({"a": "W_Q W_K: n d -> d n"}, r"of 2 names the first axis of ours must be 2\.$"),
        ({"a": "W_E: v d", "b": "W_E: d v"}, r"^layout has W_E twice: each name must stand in one rule\.$"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(layout, message):
    with pytest.raises(ValueError, match=message):
        recipe(layout)


@pytest.mark.parametrize(
    ("layout", "config", "message"),
    [
        (BLOCK, {}, r"^no array says d_head, n_heads of your mapping: give what .*, config=\{'n_heads': …\}\.$"),
        (BLOCK, SAYS | {"n_heads": 4}, r"^no array says d_head of your mapping"),
        (BLOCK, SAYS | {"n_heads": 0.5}, r"^config\.n_heads is 0\.5: it must lie in \[1, "),
        (BLOCK | {"x": "W_R: a b"}, SAYS, r"^source does not fit your mapping: missing x\.$"),
        ({k: v for k, v in BLOCK.items() if k != "pos"}, SAYS, r"^source does not fit your mapping: extra pos\.$"),
        (BLOCK | {"head.weight": "W_U: d_vocab_out"}, SAYS, r"misshapen head\.weight \[6, 6\] where \[d_vocab_out\]"),
        (BLOCK | {"head.weight": "W_V: d_vocab_out d_model"}, SAYS, r"^layout has W_V twice"),
        (
            BLOCK | {"head.weight": "W_Z: d_vocab_out d_model"},
            SAYS,
            r"^by your mapping, source does not fit layout toylab ",
        ),
        (
            BLOCK,
            {k: v for k, v in SAYS.items() if k != "causal"},
            r"^by your mapping, config lacks causal \(true or false\)",
        ),
        (BLOCK, SAYS | {"colour": "red"}, r"^by your mapping, net\.colour is no field of Transformer: "),
    ],
)
def test_a_source_that_does_not_fit_its_mapping_is_refused(layout, config, message):
    with pytest.raises(ValueError, match=message) as refused:
        importers.load(W, layout, config=config, probe=PROBE)
    assert "\n" not in str(refused.value)


def test_save_writes_named_layouts_alone(tmp_path):
    net, params = importers.load(W, BLOCK, config=SAYS, probe=PROBE)
    with pytest.raises(ValueError, match=r"^layout is a mapping of your own: save writes a layout that has a name"):
        importers.save(params, tmp_path / "x.safetensors", BLOCK, net=net)
    importers.save(params, tmp_path / "x.safetensors", "toylab", net=net)
    with pytest.raises(ValueError, match=r"^layout is a mapping of your own: .* says that it is toylab\.$"):
        importers.load(tmp_path / "x.safetensors", BLOCK, config=SAYS, probe=PROBE)


def test_the_vocabulary_may_be_put_in_another_order():
    """Numbers 0 … 3 that were entries 2 … 5: the same logits, of tokens and classes by their new names."""
    vocabulary = [2, 3, 4, 5]
    net, params = importers.load(W, BLOCK, config=SAYS, probe=PROBE, vocabulary=vocabulary)
    order = np.array([2, 3, 4, 5, 0, 1])
    renamed = np.argsort(order)[TOKENS]
    np.testing.assert_allclose(net.apply(params, renamed)[0], PROBE[1][:, order], rtol=1e-4, atol=1e-5)
    sweep = importers.load_many([W], BLOCK, config=SAYS, steps=[0], probe=PROBE, vocabulary=vocabulary)
    assert all((np.asarray(sweep.params[name][0, 0]) == params[name]).all() for name in params)
    for wrong, said in (
        ([0, 6], r"^vocabulary has \[0, 6\]: entries must lie in 0 to 5, each once\.$"),
        ([1, 1], r"^vocabulary has \[1, 1\]: "),
        ("012", r"^vocabulary is '012': it must be a list of whole numbers\.$"),
        ([], r"^vocabulary is \[\]: "),
        ([0.5], r"^vocabulary is \[0\.5\]: "),
    ):
        with pytest.raises(ValueError, match=said):
            importers.load(W, BLOCK, config=SAYS, probe=PROBE, vocabulary=wrong)
    few = {key: x[:4] if key == "head.weight" else x for key, x in W.items()}
    with pytest.raises(
        ValueError, match=r"^vocabulary is given, and net has 6 tokens and 4 classes: they must be the same"
    ):
        importers.load(few, BLOCK, config=SAYS, probe=(TOKENS, PROBE[1][:, :4]), vocabulary=[0])


def test_a_recorder_takes_a_mapping_and_asks_for_the_probe_of_the_first_point(tmp_path):
    other = {key: np.float32(1.1) * value for key, value in W.items()}
    with Recorder(tmp_path / "mine", layout=BLOCK, config=SAYS, probe=PROBE) as recorder:
        recorder(0, W)
        recorder(1, other)
    sweep = load(tmp_path / "mine")
    for at, weights in enumerate((W, other)):
        net, params = importers.load(weights, BLOCK, config=SAYS, probe=(TOKENS, forward(weights, TOKENS)))
        assert sweep.config(0).net == net
        for name, value in params.items():
            np.testing.assert_array_equal(sweep.params[name][0, at], value)
    turned = W | {"head.weight": np.ascontiguousarray(W["head.weight"].T)}
    with (
        pytest.raises(ValueError, match=r"head\.weight lies transposed"),
        Recorder(tmp_path / "turned", layout=BLOCK, config=SAYS, probe=PROBE) as recorder,
    ):
        recorder(0, turned)
    with (
        pytest.raises(ValueError, match="may lie otherwise than your mapping says"),
        Recorder(tmp_path / "unsure", layout=BLOCK, config=SAYS) as recorder,
    ):
        recorder(0, W)


def test_a_probe_that_does_not_tell_how_a_square_matrix_lies_is_refused(tmp_path):
    """At one position the softmax is 1 whatever queries and keys are; of matrices that are 0 both ways are the same."""
    q = {
        f"layers.{{}}.{name}.weight": f"W_{name.upper()}: (n_heads d_head) d_model -> n_heads d_model d_head"
        for name in "qkv"
    }
    apart = {key: rule for key, rule in BLOCK.items() if "qkv" not in key} | q
    w = {key: value for key, value in W.items() if "qkv" not in key}
    for layer in range(2):
        parts = np.split(W[f"layers.{layer}.qkv.weight"], 3)
        w |= {f"layers.{layer}.{name}.weight": part for name, part in zip("qkv", parts, strict=True)}
    assert importers.load(w, apart, config=SAYS, probe=PROBE)
    short = TOKENS[:, :1]
    one = {
        "layers.{}.q.weight": q["layers.{}.q.weight"].replace("(n_heads d_head) d_model", "d_model (n_heads d_head)")
    }
    logits = importers.load(W, BLOCK, config=SAYS, probe=PROBE)[0].apply(
        importers.load(W, BLOCK, config=SAYS, probe=PROBE)[1], short
    )[0]
    for rules in (apart, apart | one):
        with pytest.raises(
            ValueError, match=r"^probe does not tell how layers\.0\.k\.weight lies: .* with it transposed"
        ):
            importers.load(w, rules, config=SAYS, probe=(short, logits))
    still = W | {"layers.1.out.weight": np.zeros((N, N), np.float32)}
    probe = (TOKENS, forward(still, TOKENS))
    assert importers.load(still, BLOCK, config=SAYS, probe=probe)  # it is the same both ways
    with (
        Recorder(tmp_path, layout=BLOCK, config=SAYS, probe=probe) as recorder,  # but later it is not
        pytest.raises(ValueError, match=r"^probe does not tell how layers\.1\.out\.weight lies"),
    ):
        recorder(0, still)
