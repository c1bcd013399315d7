"""Layouts of decoders with LayerNorm behind each sum: by function, in their authors' orientation, and by torch's own parts.
All matrices of a layer are square, so that only the function tells one from its transpose."""

import math

import jax
import numpy as np
import pytest

from toylab import importers
from toylab.analysis import task_measures
from toylab.models import Net, PostNormTransformer
from toylab.tasks import ModularPrompts

N, H, P = 6, 2, 4  # widths and tokens, heads, positions
TOKENS = np.random.default_rng(5).integers(0, N, (30, P))
erf = np.vectorize(math.erf)


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {
        key: np.float32(rng.normal(size=shape) / shape[-1] ** 0.5 + ("norm" in key and key.endswith("weight")))
        for key, shape in shapes.items()
    }


def sines(rows, d):
    return np.array(
        [[(math.cos if i % 2 else math.sin)(t / 10000 ** ((i - i % 2) / d)) for i in range(d)] for t in range(rows)]
    )


def grok(prefix="transformer.", n_layers=2):
    """A state dict of openai/grok's TrainableTransformer, with its buffers."""
    shapes = {"embedding.weight": (N, N), "linear.weight": (N, N)}
    for layer in range(n_layers):
        at = f"decoder.blocks.{layer}."
        shapes |= {f"{at}self_attn.attn_heads.{h}.W{x}.weight": (N // H, N) for h in range(H) for x in "qkv"}
        shapes |= {f"{at}{name}.weight": (N, N) for name in ("self_attn.Wo", "ffn.ffn.0", "ffn.ffn.2")}
        shapes |= {f"{at}{name}.{part}": (N,) for name in ("self_attn_norm", "ffn_norm") for part in ("weight", "bias")}
    w = drawn(shapes) | {"position_encoding": np.float32(sines(9, N)), "self_attn_mask": np.tri(9, dtype=np.float32)}
    return {f"{prefix}{key}": value for key, value in w.items()}


def mamay(biased, n_layers=2):
    """A state dict of danielmamay/grokking, as it is and as it was."""
    layers = "model" if biased else "layers"
    shapes = {"token_embeddings.weight": (N, N), "position_embeddings.weight": (P, N)}
    last = f"{layers}.{n_layers + biased}"
    shapes |= {f"{last}.weight": (N, N)} | ({f"{last}.bias": (N,)} if biased else {})
    masks = {}
    for layer in range(n_layers):
        at = f"{layers}.{layer}."
        shapes |= {f"{at}self_attn.in_proj_weight": (3 * N, N), f"{at}self_attn.out_proj.weight": (N, N)}
        shapes |= {f"{at}ffn.{i}.weight": (N, N) for i in (0, 2)}
        shapes |= {f"{at}{name}.{part}": (N,) for name in ("self_attn_norm", "ffn_norm") for part in ("weight", "bias")}
        if biased:
            shapes |= {f"{at}self_attn.in_proj_bias": (3 * N,), f"{at}self_attn.out_proj.bias": (N,)}
            shapes |= {f"{at}ffn.{i}.bias": (N,) for i in (0, 2)}
        else:
            masks[f"{at}attn_mask"] = np.float32(np.triu(np.full((P, P), -1e10), 1))
    w = drawn(shapes | ({f"model.{n_layers}.weight": (N,), f"model.{n_layers}.bias": (N,)} if biased else {}))
    return w | masks


def columns(w, key, x):
    return x @ w[f"{key}.weight"].T + w.get(f"{key}.bias", 0)


def norm(w, key, x):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[f"{key}.weight"] + w[f"{key}.bias"]


def attended(q, k, v):
    scores = np.where(np.tri(P, dtype=bool), q @ np.swapaxes(k, 1, 2) / q.shape[-1] ** 0.5, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def grok_forward(w, tokens):
    w = {key.removeprefix("transformer."): np.float64(value) for key, value in w.items()}
    x = w["embedding.weight"][tokens] + sines(P, N)
    for layer in range(sum(key.endswith("Wo.weight") for key in w)):
        at = f"decoder.blocks.{layer}."
        heads = [[columns(w, f"{at}self_attn.attn_heads.{h}.W{name}", x) for name in "qkv"] for h in range(H)]
        z = np.concatenate([attended(*head) for head in heads], axis=-1)
        x = norm(w, f"{at}self_attn_norm", x + columns(w, f"{at}self_attn.Wo", z))
        post = np.maximum(columns(w, f"{at}ffn.ffn.0", x), 0)
        x = norm(w, f"{at}ffn_norm", x + columns(w, f"{at}ffn.ffn.2", post))
    return columns(w, "linear", x)


def mamay_forward(w, tokens, biased):
    w = {key.removeprefix("layers.").removeprefix("model."): np.float64(value) for key, value in w.items()}
    x, n_layers = w["token_embeddings.weight"][tokens] + w["position_embeddings.weight"], 2
    for layer in range(n_layers):
        at = f"{layer}.self_attn."
        qkv = x @ w[f"{at}in_proj_weight"].T + w.get(f"{at}in_proj_bias", 0)
        by_head = [np.split(part, H, axis=-1) for part in np.split(qkv, 3, axis=-1)]
        z = np.concatenate([attended(*head) for head in zip(*by_head, strict=True)], axis=-1)
        x = norm(w, f"{layer}.self_attn_norm", x + columns(w, f"{at}out_proj", z))
        pre = columns(w, f"{layer}.ffn.0", x)
        post = pre / 2 * (1 + erf(pre / 2**0.5)) if biased else np.maximum(pre, 0)
        x = norm(w, f"{layer}.ffn_norm", x + columns(w, f"{layer}.ffn.2", post))
    return columns(w, str(n_layers + 1), norm(w, str(n_layers), x)) if biased else columns(w, str(n_layers), x)


GROK, BARE, NEW, OLD = grok(), grok(""), mamay(False), mamay(True)
SAYS = {"non_linearity": "relu"}
CASES = {
    "grok": ("grok", GROK, SAYS, grok_forward(GROK, TOKENS)),
    "grok bare": ("grok", BARE, SAYS, grok_forward(BARE, TOKENS)),
    "danielmamay": ("danielmamay_grokking", NEW, {"num_heads": H}, mamay_forward(NEW, TOKENS, False)),
    "danielmamay old": ("danielmamay_grokking", OLD, {"num_heads": H}, mamay_forward(OLD, TOKENS, True)),
}
cases = pytest.mark.parametrize("case", CASES)
BUFFERS = ("mask", "position_encoding")


@cases
def test_a_layout_gives_its_authors_logits(case):
    layout, source, config, wanted = CASES[case]
    net, params = importers.load(source, layout, config=config | {"readout": "all"}, probe=(TOKENS, wanted))
    assert net.module is PostNormTransformer and net.n_heads == H and net.n_ctx == (9 if layout == "grok" else P)
    found = net.apply(params, TOKENS)[0]
    # float32 against float64 through two layers of six sums of 6 products: 1e-5 of logits of size 1 is 100 roundings
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    assert importers.load(source, layout, config=config)[0].readout == "last"


@cases
def test_a_transposed_square_array_is_named_by_the_probe(case):
    layout, source, config, wanted = CASES[case]
    square = [key for key, x in source.items() if x.shape == (N, N) and not key.endswith(BUFFERS)]
    for key in square[:: max(1, len(square) // 2)]:
        with pytest.raises(ValueError, match=rf"{key} lies transposed\.$"):
            importers.load(source | {key: source[key].T}, layout, config=config, probe=(TOKENS, wanted))


@cases
def test_there_and_back_again_is_exact(case, tmp_path):
    layout, source, config, _ = CASES[case]
    net, params = importers.load(source, layout, config=config)
    importers.save(params, tmp_path / "theirs.safetensors", layout, net=net)
    importers.save(params, tmp_path / "ours.safetensors", "toylab", net=net)
    arrays, _ = importers.safetensors.read(tmp_path / "theirs.safetensors")
    weights = {key.removeprefix("transformer."): x for key, x in source.items() if not key.endswith(BUFFERS)}
    assert {key.removeprefix("transformer.") for key in arrays} == set(weights)
    for key, x in arrays.items():
        np.testing.assert_array_equal(x, weights[key.removeprefix("transformer.")])
    for name, kind in (("theirs", layout), ("ours", "toylab")):  # without a config: the file says it
        again, same = importers.load(tmp_path / f"{name}.safetensors", kind)
        assert again == net and all((same[key] == params[key]).all() for key in params) and set(same) == set(params)


def test_the_encoder_of_torchs_own_parts_is_that_of_the_layout():
    """MultiheadAttention, LayerNorm and Linear of torch, put together as the formula says."""
    torch = pytest.importorskip("torch", reason="its MultiheadAttention is compared with")
    torch.manual_seed(0)
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.self_attn = nn.MultiheadAttention(N, H, bias=False)
            self.self_attn_norm, self.ffn_norm = nn.LayerNorm(N), nn.LayerNorm(N)
            self.ffn = nn.Sequential(nn.Linear(N, 4 * N, bias=False), nn.ReLU(), nn.Linear(4 * N, N, bias=False))

        def forward(self, x):
            hidden = nn.Transformer.generate_square_subsequent_mask(len(x))
            x = self.self_attn_norm(x + self.self_attn(x, x, x, attn_mask=hidden)[0])
            return self.ffn_norm(x + self.ffn(x))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.token_embeddings, self.position_embeddings = nn.Embedding(9, N), nn.Embedding(P, N)
            self.layers = nn.Sequential(Block(), Block(), Block(), nn.Linear(N, 9, bias=False))

        def forward(self, tokens):
            x = self.token_embeddings(tokens) + self.position_embeddings.weight
            return self.layers(x.transpose(0, 1))[-1]

    model, tokens = Decoder(), torch.tensor(TOKENS)
    with torch.no_grad():
        wanted = model(tokens).numpy()
    config = {"num_heads": H, "num_layers": 3, "dim_model": N, "prime": 7}
    net, params = importers.load(model.state_dict(), "danielmamay_grokking", config=config)
    assert (net.n_layers, net.d_vocab, net.d_mlp) == (3, 9, 4 * N)
    np.testing.assert_allclose(net.apply(params, TOKENS)[0], wanted, rtol=1e-4, atol=1e-5)


def other(source, **changes):
    return source | changes


@pytest.mark.parametrize(
    ("layout", "source", "config", "message"),
    [
        ("grok", GROK, {}, r"^config lacks non_linearity \(relu or gelu\): the arrays do not say it; "),
        ("grok", GROK, SAYS | {"n_heads": 4}, r"^config\.n_heads is 4 and the arrays have 2: it is another "),
        ("grok", GROK, SAYS | {"architecture": "grok1"}, r"^config\.architecture is 'grok1': it must be standard, since "),
        ("grok", GROK, SAYS | {"max_context_len": 5}, r"position_encoding is \[9, 6\]: \[max_.*\] = \[5, 6\]"),
        (
            "grok", {key: x for key, x in GROK.items() if "position" not in key}, SAYS,
            r"^config lacks max_context_len, the most positions: ",
        ),
        (
            "grok", other(GROK, **{"transformer.position_encoding": np.float32(sines(9, N))[::-1]}), SAYS,
            r"^transformer\.position_encoding has others than sin and cos of t·10000\^\(−2i/d_model\)",
        ),
        (
            "grok", other(GROK, **{"transformer.self_attn_mask": np.ones((9, 9), np.float32)}), SAYS,
            r"^transformer\.self_attn_mask is no causal mask",
        ),
        (
            "grok", {key: x for key, x in GROK.items() if "attn_heads.1.Wk" not in key}, SAYS,
            r"\(decoder\): missing transformer\.decoder\.blocks\.0\.self_attn\.attn_heads\.1\.Wk\.weight, ",
        ),
        ("danielmamay_grokking", NEW, {}, r"^config lacks num_heads \(a whole number\): the arrays do not say it; "),
        ("danielmamay_grokking", NEW, {"num_heads": 4}, r"^config\.num_heads is 4: d_model, which is 6, must be a "),
        ("danielmamay_grokking", NEW, {"num_heads": 2, "prime": 7}, r"^config\.prime is 7 and the arrays have 4: "),
        (
            "danielmamay_grokking", other(NEW, **{"layers.0.attn_mask": np.zeros((P, P), np.float32)}), {"num_heads": 2},
            r"^layers\.0\.attn_mask is no causal mask",
        ),
        (
            "danielmamay_grokking", other(NEW, **{"layers.1.ffn.0.bias": np.zeros(N, np.float32)}), {"num_heads": 2},
            r"\(decoder\): extra layers\.1\.ffn\.0\.bias\.$",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_its_name(layout, source, config, message):
    with pytest.raises(ValueError, match=message) as refused:
        importers.load(source, layout, config=config)
    assert "\n" not in str(refused.value)


def test_a_net_that_the_layout_has_not_is_not_written(tmp_path):
    net, params = importers.load(OLD, "danielmamay_grokking", config={"num_heads": H})
    with pytest.raises(ValueError, match=r"^params do not fit layout grok \(decoder\): extra W_pos, b_K, "):
        importers.save(params, tmp_path / "x.safetensors", "grok", net=net)
    mixed = Net.of(
        PostNormTransformer, d_vocab=N, d_vocab_out=N, n_ctx=P, d_model=N, n_heads=H, d_mlp=N, positions="abs",
        final_norm=True,
    )  # fmt: skip
    params = {name: np.zeros(x.shape, np.float32) for name, x in jax.eval_shape(mixed.init, jax.random.key(0)).items()}
    with pytest.raises(ValueError, match=r"layout danielmamay_grokking \(decoder\): extra ln_final_b, ln_final_w\.$"):
        importers.save(params, tmp_path / "x.safetensors", "danielmamay_grokking", net=mixed)


def test_checkpoints_of_prompts_are_measured_on_their_own_split():
    """Numbers 0 to 3, "=" 4 and the operation 5: accuracies of two checkpoints by their authors' formula."""
    every = [NEW | {"layers.2.weight": NEW["layers.2.weight"][::-1].copy()}, NEW]
    pairs = np.array([[a, b] for a in range(4) for b in range(4)])
    train, right = pairs[::2], pairs.sum(1) % 4
    sweep = importers.load_many(every, "danielmamay_grokking", config={"num_heads": H}, steps=[0, 1])
    found = sweep.analyze(task_measures, task=ModularPrompts(p=4), train=train)
    tokens = np.stack([pairs[:, 0], np.full(16, 5), pairs[:, 1], np.full(16, 4)], axis=1)
    for i, w in enumerate(every):
        correct = mamay_forward(w, tokens, False)[:, -1].argmax(-1) == right
        assert found["train_accuracy"][0, i] == pytest.approx(correct[::2].mean())
        assert found["test_accuracy"][0, i] == pytest.approx(correct[1::2].mean())
