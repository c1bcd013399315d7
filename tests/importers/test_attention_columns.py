"""Attention alone with vectors as columns, the saved runs induction_head of Nanda et al. 2023: by function, on square
matrices; what their config may say; there and back."""

import numpy as np
import pytest

from toylab import importers
from toylab.models import Transformer

N, H, P, LAYERS = 6, 2, 5, 2
TOKENS = np.random.default_rng(0).integers(0, N, (10, P))
SAYS = {"num_layers": 2, "d_model": N, "num_heads": H, "n_ctx": P, "act_type": "ReLU", "d_vocab": N, "seed": 1}
SAYS |= {"pos_embed_type": "orig", "d_head": N // H, "d_mlp": 4 * N}


def source():
    rng = np.random.default_rng(1)
    block = {f"attn.W_{name}": (H, N // H, N) for name in "QKV"} | {"attn.W_O": (N, N)}
    shapes = {"embed.W_E": (N, N), "pos_embed.W_pos": (P, N), "unembed.W_U": (N, N)}
    shapes |= {f"attn_blocks.{layer}.{key}": shape for layer in range(LAYERS) for key, shape in block.items()}
    found = {key: np.float32(rng.normal(size=shape) / N**0.5) for key, shape in shapes.items()}
    return found | {f"attn_blocks.{layer}.attn.mask": np.tri(P, dtype=np.float32) for layer in range(LAYERS)}


W = source()


def forward(w, tokens):
    """One position and head at a time: q = W_Q x, and what is attended to is added; at the end x W_U."""
    w = {key: np.float64(value) for key, value in w.items()}
    every = []
    for row in tokens:
        x = [w["embed.W_E"][:, token] + w["pos_embed.W_pos"][t] for t, token in enumerate(row)]
        for layer in range(LAYERS):
            W_Q, W_K, W_V, W_O = (w[f"attn_blocks.{layer}.attn.W_{name}"] for name in "QKVO")
            added = []
            for t in range(P):
                z = []
                for h in range(H):
                    scores = np.array([W_Q[h] @ x[t] @ (W_K[h] @ x[s]) / (N / H) ** 0.5 for s in range(t + 1)])
                    weights = np.exp(scores) / np.exp(scores).sum()
                    z.append(sum(a * (W_V[h] @ x[s]) for s, a in enumerate(weights)))
                added.append(W_O @ np.concatenate(z))
            x = [one + more for one, more in zip(x, added, strict=True)]
        every.append([one @ w["unembed.W_U"] for one in x])
    return np.array(every)


WANTED = forward(W, TOKENS)


def test_the_logits_are_those_of_the_code_at_all_positions():
    net, params = importers.load(W, "progress_measures", config=SAYS, probe=(TOKENS, WANTED))
    assert net.module is Transformer and net.d_mlp == 0 and net.readout == "all" and net.causal
    # float32 against float64 through two layers of sums of 6 products: 1e-5 of the largest logit is 100 roundings
    np.testing.assert_allclose(net.apply(params, TOKENS)[0], WANTED, rtol=1e-5, atol=1e-5 * np.abs(WANTED).max())
    turned = W | {"attn_blocks.1.attn.W_O": W["attn_blocks.1.attn.W_O"].T}
    with pytest.raises(ValueError, match=r"attn_blocks\.1\.attn\.W_O lies transposed\.$"):
        importers.load(turned, "progress_measures", config=SAYS, probe=(TOKENS, WANTED))


def test_there_and_back_again_is_exact(tmp_path):
    net, params = importers.load(W, "progress_measures", config=SAYS | {"readout": "last"})
    importers.save(params, tmp_path / "x.safetensors", "progress_measures", net=net)
    arrays, _ = importers.safetensors.read(tmp_path / "x.safetensors")
    assert set(arrays) == {key for key in W if not key.endswith("mask")}
    assert all((arrays[key] == W[key]).all() for key in arrays)
    again, same = importers.load(tmp_path / "x.safetensors", "progress_measures")
    assert again == net and all((same[name] == params[name]).all() for name in params)


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        ({}, {}, r"^config lacks pos_embed_type \(orig\): the arrays do not say it; "),
        (
            {},
            SAYS | {"pos_embed_type": "shortformer"},
            r"^config\.pos_embed_type is 'shortformer': it must be one of orig\.$",
        ),
        ({}, SAYS | {"num_heads": 3}, r"^config\.num_heads is 3 and the arrays have 2: "),
        ({}, SAYS | {"use_ln": True}, r"^config has use_ln: no such field is known"),
        ({"attn_blocks.0.attn.mask": np.ones((P, P))}, SAYS, r"^attn_blocks\.0\.attn\.mask is no causal mask"),
        (
            {"attn_blocks.2.attn.W_O": np.ones((N, N))},
            SAYS,
            r"\(attention-only transformer\): missing attn_blocks\.2\.attn",
        ),
    ],
)
def test_what_is_not_known_of_it_is_refused(change, config, message):
    with pytest.raises(ValueError, match=message):
        importers.load(W | change, "progress_measures", config=config)
