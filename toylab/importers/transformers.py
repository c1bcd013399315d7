"""Layouts of transformers: TransformerLens, Nanda et al. 2023, Zhong et al. 2023, Chughtai et al. 2023.

The first three families name their arrays alike and turn them differently: TransformerLens has vectors as rows (x W), the
other two as columns (W x) but for W_U.
"""

from typing import Any

import numpy as np

from toylab.importers.rules import Arrays, Form, Rule, Settings, Sizes
from toylab.importers.settings import chosen, expect, number, stated
from toylab.models import BiasedTransformer, Net, PizzaTransformer, Transformer

HEADS = "n_heads d_head d_model -> n_heads d_model d_head"
BLOCK = "blocks.{}."

COLUMNS = (
    Rule("embed.W_E", "W_E", "d_model d_vocab -> d_vocab d_model"),
    Rule("pos_embed.W_pos", "W_pos", "n_ctx d_model -> n_ctx d_model"),
    *(Rule(f"{BLOCK}attn.W_{name}", f"W_{name}", HEADS) for name in "QKV"),
    Rule(f"{BLOCK}attn.W_O", "W_O", "d_model (n_heads d_head) -> n_heads d_head d_model"),
    Rule(f"{BLOCK}mlp.W_in", "W_in", "d_mlp d_model -> d_model d_mlp"),
    Rule(f"{BLOCK}mlp.b_in", "b_in", "d_mlp -> d_mlp"),
    Rule(f"{BLOCK}mlp.W_out", "W_out", "d_model d_mlp -> d_mlp d_model"),
    Rule(f"{BLOCK}mlp.b_out", "b_out", "d_model -> d_model"),
    Rule("unembed.W_U", "W_U", "d_model d_vocab_out -> d_model d_vocab_out"),
)
MASK = ((f"{BLOCK}attn.mask", "n_ctx n_ctx"),)
ACTIVATIONS = {"relu": "relu", "gelu": "gelu"}  # both exact, torch's erf

SIZES = ("d_vocab", "d_vocab_out", "n_ctx", "n_layers", "d_model", "n_heads", "d_head", "d_mlp")


def sizes_of(sizes: Sizes) -> dict[str, Any]:
    return {name: sizes[name] for name in SIZES if name in sizes}


def _progress(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    activation = chosen(given, "act_type", ACTIVATIONS, "relu")
    return Net.of(Transformer, **sizes_of(sizes), activation=activation)


PROGRESS = Form(
    what="transformer",
    rules=COLUMNS,
    net=_progress,
    settings=lambda net: {"act_type": {"relu": "ReLU", "gelu": "GeLU"}[net.activation]},
    buffers=MASK,
    reads=("act_type",),
)


def _pizza(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    for name in ("n_layers", "d_model", "n_heads"):
        stated(given, name, sizes[name])
    rate = number(given, "attn_coeff", 0, 1, "the attention rate α of the model (0 for pizzas, 1 for clocks)")
    activation = chosen(given, "act_fn", ACTIVATIONS, "relu")
    return Net.of(PizzaTransformer, **sizes_of(sizes), activation=activation, attention_rate=float(rate))


PIZZA = Form(
    what="transformer",
    rules=COLUMNS,
    net=_pizza,
    settings=lambda net: {
        "attn_coeff": float(net.attention_rate),
        "act_fn": {"relu": "ReLU", "gelu": "GeLU"}[net.activation],
    },
    buffers=MASK,  # registered there and never applied
    reads=("attn_coeff", "act_fn"),
)

LENS_RULES = (
    Rule("embed.W_E", "W_E", "d_vocab d_model -> d_vocab d_model"),
    Rule("pos_embed.W_pos", "W_pos", "n_ctx d_model -> n_ctx d_model", ("positions",)),
    *(Rule(f"{BLOCK}attn.W_{name}", f"W_{name}", "n_heads d_model d_head -> n_heads d_model d_head") for name in "QKV"),
    Rule(f"{BLOCK}attn.W_O", "W_O", "n_heads d_head d_model -> n_heads d_head d_model"),
    *(Rule(f"{BLOCK}attn.b_{name}", f"b_{name}", "n_heads d_head -> n_heads d_head", ("biases",)) for name in "QKV"),
    Rule(f"{BLOCK}attn.b_O", "b_O", "d_model -> d_model", ("biases",)),
    Rule(f"{BLOCK}mlp.W_in", "W_in", "d_model d_mlp -> d_model d_mlp", ("mlp",)),
    Rule(f"{BLOCK}mlp.b_in", "b_in", "d_mlp -> d_mlp", ("mlp",)),
    Rule(f"{BLOCK}mlp.W_out", "W_out", "d_mlp d_model -> d_mlp d_model", ("mlp",)),
    Rule(f"{BLOCK}mlp.b_out", "b_out", "d_model -> d_model", ("mlp",)),
    *(Rule(f"{BLOCK}ln1.{part}", f"ln1_{part}", "d_model -> d_model", ("norm",)) for part in "wb"),
    *(Rule(f"{BLOCK}ln2.{part}", f"ln2_{part}", "d_model -> d_model", ("norm", "mlp")) for part in "wb"),
    *(Rule(f"ln_final.{part}", f"ln_final_{part}", "d_model -> d_model", ("norm",)) for part in "wb"),
    Rule("unembed.W_U", "W_U", "d_model d_vocab_out -> d_model d_vocab_out"),
    Rule("unembed.b_U", "b_U", "d_vocab_out -> d_vocab_out", ("biases",)),
)
LENS_POSITIONS = {"standard": "abs", "shortformer": "shortformer", "rotary": "rotary", "none": "none"}
LENS_FIXED = {  # settings that change the function and that no net here has otherwise; TransformerLens' defaults
    "use_attn_scale": True, "parallel_attn_mlp": False, "use_local_attn": False, "gated_mlp": False, "final_rms": False,
    "scale_attn_by_inverse_layer_idx": False, "attn_scores_soft_cap": -1.0, "output_logits_soft_cap": -1.0,
    "rotary_adjacent_pairs": False, "rotary_base": 10000, "eps": 1e-5, "use_qk_norm": False, "positional_offset": 0,
}  # fmt: skip


def lens_net(sizes: Sizes, parts: frozenset[str], given: Settings, readout: str = "all") -> Net:
    for name in ("n_layers", "d_model", "n_heads", "d_head", "d_vocab", "d_vocab_out"):
        stated(given, name, sizes[name], unset=(-1, None))
    for name, only in LENS_FIXED.items():
        expect(given, name, only)
    stated(given, "rotary_dim", sizes["d_head"], unset=(None,))
    kind = given.get("positional_embedding_type", "standard" if "positions" in parts else None)
    if kind is None:
        raise ValueError("config lacks positional_embedding_type: there is no pos_embed.W_pos, so say rotary or none.")
    positions = chosen({"positional_embedding_type": kind}, "positional_embedding_type", LENS_POSITIONS, "standard")
    if (positions in ("abs", "shortformer")) != ("positions" in parts):
        raise ValueError(
            f"config.positional_embedding_type is {kind!r}: pos_embed.W_pos is {'not ' * ('positions' not in parts)}there."
        )
    norms = {"LN": "LN", "LNPre": "LNPre", None: None}
    norm = chosen(given, "normalization_type", norms, "LN" if "norm" in parts else None)
    if (norm == "LN") != ("norm" in parts):
        raise ValueError(f"config.normalization_type is {norm!r}: ln1.w is {'not ' * (norm == 'LN')}there.")
    if "positions" not in parts:
        sizes = sizes | {"n_ctx": int(number(given, "n_ctx", 1, 1 << 20, "the most positions"))}
    return Net.of(
        BiasedTransformer if "biases" in parts else Transformer,
        **({"d_mlp": 0} | sizes_of(sizes)),
        activation=chosen(given, "act_fn", ACTIVATIONS, "relu") if "mlp" in parts else "relu",
        layer_norm=norm is not None,
        causal=chosen(given, "attention_dir", {"causal": True, "bidirectional": False}, True),
        positions=positions,
        readout=chosen(given, "readout", {"all": "all", "last": "last"}, readout),
    )


def _lens_settings(net: Net) -> dict[str, Any]:
    kinds = {ours: theirs for theirs, ours in LENS_POSITIONS.items()}
    return {
        "act_fn": net.activation,
        "attention_dir": "causal" if net.causal else "bidirectional",
        "positional_embedding_type": kinds[net.positions],
        "normalization_type": "LN" if net.layer_norm else None,
        "n_ctx": net.n_ctx,
        "readout": net.readout,
    }


def _unit_norms(net: Net, arrays: Arrays) -> Arrays:
    """LNPre: LayerNorm whose weights are 1 and biases 0."""
    if not net.layer_norm or "ln1_w" in arrays:
        return {}
    layers, final = np.ones((net.n_layers, net.d_model), np.float32), np.ones(net.d_model, np.float32)
    names = {"ln1": layers, "ln_final": final} | ({"ln2": layers} if net.d_mlp else {})
    return {f"{name}_{part}": ones if part == "w" else 0 * ones for name, ones in names.items() for part in "wb"}


LENS = Form(
    what="transformer",
    rules=LENS_RULES,
    net=lens_net,
    settings=_lens_settings,
    buffers=(
        *MASK,
        (f"{BLOCK}attn.IGNORE", ""),
        *((f"{BLOCK}attn.rotary_{name}", "n_ctx d_head") for name in ("sin", "cos")),
    ),
    reads=("act_fn", "attention_dir", "positional_embedding_type", "normalization_type", "n_ctx", "readout"),
    droppable="biases",
    implied=_unit_norms,
)
