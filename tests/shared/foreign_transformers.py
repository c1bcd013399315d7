"""A transformer in plain NumPy, head by head, and its weights as the libraries name and turn them.

All matrices of a head side by side are square, so that only the function tells one from its transpose.
"""

import math
from typing import Any

import numpy as np

Weights = dict[str, Any]
Arrays = dict[str, np.ndarray]
N, P, HEADS, D_HEAD = 8, 8, 2, 4  # tokens, widths, positions
NORMS = ("ln1", "ln2")


def drawn(n_layers: int = 2, groups: int = HEADS, biased_unembedding: bool = False, seed: int = 0) -> Weights:
    """float32 arrays: of each layer W_Q [HEADS, N, D_HEAD], W_K and W_V [groups, N, D_HEAD], W_O [HEADS, D_HEAD, N], …"""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return np.float32(rng.normal(size=shape) / 2)

    def layer() -> Arrays:
        own = {"W_Q": normal(HEADS, N, D_HEAD), "W_O": normal(HEADS, D_HEAD, N), "b_Q": normal(HEADS, D_HEAD)}
        own |= {f"W_{name}": normal(groups, N, D_HEAD) for name in "KV"}
        own |= {f"b_{name}": normal(groups, D_HEAD) for name in "KV"}
        own |= {"W_in": normal(N, N), "W_out": normal(N, N)} | {name: normal(N) for name in ("b_O", "b_in", "b_out")}
        return own | {f"{norm}_{part}": normal(N) for norm in NORMS for part in "wb"}

    ends = {"W_E": normal(N, N), "W_pos": normal(P, N), "W_U": normal(N, N)} | {
        f"ln_{part}": normal(N) for part in "wb"
    }
    b_U = normal(N) if biased_unembedding else np.zeros(N, np.float32)
    return ends | {"b_U": b_U, "layers": [layer() for _ in range(n_layers)]}


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / 2**0.5)) / 2


def gelu_new(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def _norm(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w + b


def _turned(x: np.ndarray, rotary_dim: int) -> np.ndarray:
    """x [B, P, D_HEAD]: entries i and i + rotary_dim/2 as a complex number, times exp(i t 10000^(−2i/rotary_dim))."""
    half = rotary_dim // 2
    z = x[..., :half] + 1j * x[..., half:rotary_dim]
    z = z * np.exp(1j * np.arange(x.shape[1])[:, None] * 10000.0 ** (-np.arange(half) / half))
    return np.concatenate([z.real, z.imag, x[..., rotary_dim:]], axis=-1)


def forward(w: Weights, tokens: np.ndarray, act: Any, rotary_dim: int = 0, parallel: bool = False) -> np.ndarray:
    """Logits [B, P, N] in float64."""
    x = np.float64(w["W_E"][tokens])
    x = x if rotary_dim else x + w["W_pos"][: tokens.shape[1]]
    mask = np.tri(tokens.shape[1], dtype=bool)
    for own in w["layers"]:
        read, added = _norm(x, own["ln1_w"], own["ln1_b"]), np.zeros_like(x) + own["b_O"]
        for head in range(HEADS):
            group = head * len(own["W_K"]) // HEADS
            at = {"Q": head, "K": group, "V": group}
            q, k, v = (read @ own[f"W_{name}"][i] + own[f"b_{name}"][i] for name, i in at.items())
            q, k = (_turned(y, rotary_dim) for y in (q, k)) if rotary_dim else (q, k)
            scores = np.where(mask, q @ np.swapaxes(k, 1, 2) / D_HEAD**0.5, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            added = added + weights / weights.sum(-1, keepdims=True) @ v @ own["W_O"][head]
        read = _norm(x if parallel else x + added, own["ln2_w"], own["ln2_b"])
        x = x + added + act(read @ own["W_in"] + own["b_in"]) @ own["W_out"] + own["b_out"]
    return _norm(x, w["ln_w"], w["ln_b"]) @ w["W_U"] + w["b_U"]


def _side_by_side(W: np.ndarray) -> np.ndarray:
    """[heads, N, D_HEAD] → [N, heads·D_HEAD]."""
    return np.concatenate(list(W), axis=1)


def hooked(w: Weights, rotary: bool = False) -> Arrays:
    """TransformerLens' names; keys and values that heads share begin with _."""
    found = {"embed.W_E": w["W_E"], "unembed.W_U": w["W_U"], "unembed.b_U": w["b_U"]}
    found |= {} if rotary else {"pos_embed.W_pos": w["W_pos"]}
    found |= {f"ln_final.{part}": w[f"ln_{part}"] for part in "wb"}
    for i, own in enumerate(w["layers"]):
        for name, array in own.items():
            shared = "_" if name in ("W_K", "W_V", "b_K", "b_V") and len(array) < HEADS else ""
            place = f"attn.{shared}" if name[-1] in "QKVO" else "mlp." if "_in" in name or "_out" in name else ""
            name = name.replace("_", ".") if name[:2] == "ln" else name
            found[f"blocks.{i}.{place}{name}"] = array
    return found


def bridged(w: Weights, conv: bool = False, rotary: bool = False) -> Arrays:
    """A TransformerBridge's state dict: Linear's [out, in], or for `conv` Conv1D's [in, out] in attn.o and the MLP."""
    turn = (lambda W: W) if conv else np.transpose
    found = {"embed.weight": w["W_E"], "unembed.weight": w["W_U"].T, "unembed.bias": w["b_U"]}
    found |= {} if rotary else {"pos_embed.weight": w["W_pos"]}
    found |= {"ln_final.weight": w["ln_w"], "ln_final.bias": w["ln_b"]}
    for i, own in enumerate(w["layers"]):
        at = f"blocks.{i}."
        for name in "QKV":
            found[f"{at}attn.{name.lower()}.weight"] = _side_by_side(own[f"W_{name}"]).T
            found[f"{at}attn.{name.lower()}.bias"] = own[f"b_{name}"].ravel()
        found |= {f"{at}attn.o.weight": turn(own["W_O"].reshape(-1, N)), f"{at}attn.o.bias": own["b_O"]}
        found |= {f"{at}mlp.{name}.weight": turn(own[f"W_{name}"]) for name in ("in", "out")}
        found |= {f"{at}mlp.{name}.bias": own[f"b_{name}"] for name in ("in", "out")}
        found |= {f"{at}{norm}.{kind}": own[f"{norm}_{kind[0]}"] for norm in NORMS for kind in ("weight", "bias")}
    return found


def gpt2(w: Weights, start: str = "transformer.") -> Arrays:
    """GPT2LMHeadModel's state dict, without lm_head.weight."""
    found = {"wte.weight": w["W_E"], "wpe.weight": w["W_pos"], "ln_f.weight": w["ln_w"], "ln_f.bias": w["ln_b"]}
    for i, own in enumerate(w["layers"]):
        block = {"attn.c_attn.weight": np.hstack([_side_by_side(own[f"W_{name}"]) for name in "QKV"])}
        block |= {"attn.c_attn.bias": np.concatenate([own[f"b_{name}"].ravel() for name in "QKV"])}
        block |= {"attn.c_proj.weight": own["W_O"].reshape(-1, N), "attn.c_proj.bias": own["b_O"]}
        block |= {"mlp.c_fc.weight": own["W_in"], "mlp.c_fc.bias": own["b_in"]}
        block |= {"mlp.c_proj.weight": own["W_out"], "mlp.c_proj.bias": own["b_out"]}
        block |= {f"ln_{n}.{kind}": own[f"ln{n}_{kind[0]}"] for n in (1, 2) for kind in ("weight", "bias")}
        found |= {f"h.{i}.{key}": array for key, array in block.items()}
    return {start + key: np.ascontiguousarray(array) for key, array in found.items()}


def gpt_neox(w: Weights, head: str = "embed_out.weight") -> Arrays:
    """GPTNeoXForCausalLM's state dict."""
    found = {"embed_in.weight": w["W_E"], "final_layer_norm.weight": w["ln_w"], "final_layer_norm.bias": w["ln_b"]}
    for i, own in enumerate(w["layers"]):
        rows = [own[f"W_{name}"][h].T for h in range(HEADS) for name in "QKV"]
        block = {"attention.query_key_value.weight": np.vstack(rows)}
        biases = [own[f"b_{name}"][h] for h in range(HEADS) for name in "QKV"]
        block |= {"attention.query_key_value.bias": np.concatenate(biases)}
        block |= {"attention.dense.weight": own["W_O"].reshape(-1, N).T, "attention.dense.bias": own["b_O"]}
        block |= {"mlp.dense_h_to_4h.weight": own["W_in"].T, "mlp.dense_h_to_4h.bias": own["b_in"]}
        block |= {"mlp.dense_4h_to_h.weight": own["W_out"].T, "mlp.dense_4h_to_h.bias": own["b_out"]}
        names = {"ln1": "input_layernorm", "ln2": "post_attention_layernorm"}
        block |= {f"{names[norm]}.{kind}": own[f"{norm}_{kind[0]}"] for norm in NORMS for kind in ("weight", "bias")}
        found |= {f"layers.{i}.{key}": array for key, array in block.items()}
    return {f"gpt_neox.{key}": np.ascontiguousarray(array) for key, array in found.items()} | {head: w["W_U"].T}
