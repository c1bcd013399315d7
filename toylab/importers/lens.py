"""Layouts of TransformerLens, and of Chughtai et al. 2023, whose transformer is one of its."""

from dataclasses import replace
from typing import Any

import numpy as np

from toylab.importers.lens_fields import LENS_FIELDS, OTHER_ARCHITECTURES
from toylab.importers.naming import Refusal, printable_value
from toylab.importers.pairs import CHUGHTAI
from toylab.importers.rules import Arrays, Form, Rule, Sizes
from toylab.importers.settings import Settings, chosen, expect, refused, require, same, stated, whole
from toylab.importers.transformers import ACTIVATIONS, BLOCK, MASK, sizes_of
from toylab.models import BiasedTransformer, Net, Transformer

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
NORMS = {"LN": "LN", "LNPre": "LNPre", None: None}


def lens_net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    _check_lens_sizes(sizes, parts, given)
    require(given, _unsaid(sizes, parts, given))
    kind = given["positional_embedding_type"]
    positions = chosen(given, "positional_embedding_type", LENS_POSITIONS)
    if (positions in ("abs", "shortformer")) != ("positions" in parts):
        there = "" if "positions" in parts else "not "
        raise Refusal(f"config.positional_embedding_type is {printable_value(kind)}: pos_embed.W_pos is {there}there.")
    norm = chosen(given, "normalization_type", NORMS, "LN")
    if (norm == "LN") != ("norm" in parts):
        raise Refusal(f"config.normalization_type is {norm!r}: ln1.w is {'not ' * (norm == 'LN')}there.")
    if "positions" not in parts:
        sizes = sizes | {"n_ctx": whole(given, "n_ctx", 1, 1 << 20, "the most positions")}
    return Net.of(
        BiasedTransformer if "biases" in parts else Transformer,
        **({"d_mlp": 0} | sizes_of(sizes)),
        activation=chosen(given, "act_fn", ACTIVATIONS) if "mlp" in parts else "relu",
        layer_norm=norm is not None,
        causal=chosen(given, "attention_dir", {"causal": True, "bidirectional": False}),
        positions=positions,
        readout=chosen(given, "readout", {"all": "all", "last": "last"}, "all"),  # the code gives those of all
    )


def _unsaid(sizes: Sizes, parts: frozenset[str], given: Settings) -> dict[str, str]:
    """The settings that change the function and that these arrays leave open."""
    scale = f"√d_head = {sizes['d_head'] ** 0.5:.6g}" if "use_attn_scale" not in given else ""
    return {
        **({"act_fn": "relu or gelu"} if "mlp" in parts else {}),
        **({} if "norm" in parts else {"normalization_type": "LNPre or null"}),
        "positional_embedding_type": "standard or shortformer" if "positions" in parts else "rotary or none",
        "attention_dir": "causal or bidirectional",
        **({"attn_scale": scale} if scale else {}),
        **({} if "positions" in parts else {"n_ctx": "the most positions"}),
    }


def _check_lens_sizes(sizes: Sizes, parts: frozenset[str], given: Settings) -> None:
    """Sizes and what blocks have, and how scores are divided."""
    held = ("n_layers", "d_model", "n_heads", "d_head", "d_vocab", "d_vocab_out")
    for name in (*held, *(("d_mlp",) if "mlp" in parts else ()), *(("n_ctx",) if "positions" in parts else ())):
        stated(given, name, sizes[name], unset=(-1, None))
    if "positions" not in parts:
        stated(given, "rotary_dim", sizes["d_head"], unset=(None,))
    stated(given, "n_key_value_heads", sizes["n_heads"], unset=(None,))
    if "attn_only" in given and not same(given["attn_only"], "mlp" not in parts):
        there = "" if "mlp" in parts else "not "
        raise Refusal(f"config.attn_only is {printable_value(given['attn_only'])}: mlp.W_in is {there}there.")
    scale = sizes["d_head"] ** 0.5
    for name, only in {"use_attn_scale": (True,), "attn_scale": (scale, -1.0)}.items():
        if name in given:
            expect(name, given[name], only, "scores here are divided by √d_head alone")
    for name in ("original_architecture", "architecture"):
        if any(same(given.get(name), one) for one in OTHER_ARCHITECTURES):
            raise Refusal(f"config.{name} is {printable_value(given[name])}: toylab has no such blocks.")


def _lens_traits(parts: frozenset[str], given: Settings) -> frozenset[str]:
    rotary = "positions" not in parts and not any(
        same(given.get("positional_embedding_type"), one) for one in (None, "none")
    )
    norm = "norm" in parts or given.get("normalization_type") is not None
    return parts | ({"rotary"} if rotary else set()) | ({"norm"} if norm else set())


def _lens_settings(net: Net) -> dict[str, Any]:
    kinds = {ours: theirs for theirs, ours in LENS_POSITIONS.items()}
    return {
        "act_fn": net.activation,
        "attention_dir": "causal" if net.causal else "bidirectional",
        "positional_embedding_type": kinds[net.positions],
        "normalization_type": "LN" if net.layer_norm else None,
        "n_ctx": net.n_ctx,
        "readout": net.readout,
        "attn_scale": float(net.d_head or net.d_model // net.n_heads) ** 0.5,
    }


def _unit_norms(net: Net, arrays: Arrays, given: Settings) -> Arrays:
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
    fields=LENS_FIELDS,
    traits=_lens_traits,
    buffers=(*MASK, *(f"{BLOCK}attn.{name}" for name in ("IGNORE", "rotary_sin", "rotary_cos"))),
    droppable="biases",
    implied=_unit_norms,
)

CHUGHTAI_LENS = {  # Transformer in rep_theory/utils/models.py of the released code says no other
    "act_fn": "relu", "normalization_type": None, "positional_embedding_type": "standard", "attention_dir": "causal",
    "use_attn_scale": True, "readout": "last",
}  # fmt: skip
UNIVERSAL_LENS = replace(
    LENS,
    net=lambda sizes, parts, given: lens_net(sizes, parts, CHUGHTAI_LENS | dict(given)),
    fields=LENS_FIELDS | CHUGHTAI | refused("these arrays are those of its transformer", "model", "Transformer"),
)
