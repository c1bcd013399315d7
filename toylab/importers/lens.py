"""Layouts of TransformerLens' names, and of Chughtai et al. 2023, whose transformer is one of its.

The names are those of a HookedTransformer's state dict, up to TransformerLens 3, and of a TransformerBridge's
`tl_named_parameters()`, in 3 and 4. Its `state_dict()` has others (bridge.py).
"""

from dataclasses import replace
from typing import Any

import numpy as np

from toylab.importers.lens_fields import LENS_FIELDS
from toylab.importers.lens_nets import LENS_POSITIONS, lens_net
from toylab.importers.naming import Refusal
from toylab.importers.pairs import CHUGHTAI
from toylab.importers.rules import Arrays, Form, Rule
from toylab.importers.settings import Settings, refused, same
from toylab.importers.transformers import BLOCK, MASK
from toylab.models import NeoXTransformer, Net

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
GROUPED_RULES = tuple(
    replace(rule, key=rule.key.replace("attn.", "attn._"), axes=rule.axes.replace("n_heads", "n_kv_heads"))
    if rule.name in ("W_K", "W_V", "b_K", "b_V")
    else rule
    for rule in LENS_RULES
)  # keys and values that several heads share


def lens_traits(parts: frozenset[str], given: Settings) -> frozenset[str]:
    rotary = "positions" not in parts and not any(
        same(given.get("positional_embedding_type"), one) for one in (None, "none")
    )
    norm = "norm" in parts or given.get("normalization_type") is not None
    return parts | ({"rotary"} if rotary else set()) | ({"norm"} if norm else set())


def lens_settings(net: Net) -> dict[str, Any]:
    kinds = {ours: theirs for theirs, ours in LENS_POSITIONS.items()}
    neox = net.module is NeoXTransformer
    d_head = net.d_head or net.d_model // net.n_heads
    more = {"parallel_attn_mlp": net.parallel, "rotary_dim": net.rotary_dim or d_head} if neox else {}
    return {
        "act_fn": net.activation,
        "attention_dir": "causal" if neox or net.causal else "bidirectional",
        "positional_embedding_type": "rotary" if neox else kinds[net.positions],
        "normalization_type": "LN" if neox or net.layer_norm else None,
        "n_ctx": net.n_ctx,
        "readout": net.readout,
        "attn_scale": float(d_head) ** 0.5,
        **more,
    }


def lens_implied(net: Net, arrays: Arrays, given: Settings) -> Arrays:
    """Of a checkpoint some arrays may be read alone: what was read is kept."""
    absent = _unit_norms(net, arrays) | _biases(net, arrays)
    return {name: x for name, x in absent.items() if name not in arrays} | _repeated(net, arrays, given)


def _unit_norms(net: Net, arrays: Arrays) -> Arrays:
    """LNPre: LayerNorm whose weights are 1 and biases 0."""
    if not (net.module is NeoXTransformer or net.layer_norm) or "ln1_w" in arrays:
        return {}
    layers, final = np.ones((net.n_layers, net.d_model), np.float32), np.ones(net.d_model, np.float32)
    names = {"ln1": layers, "ln_final": final} | ({"ln2": layers} if net.d_mlp else {})
    return {f"{name}_{part}": ones if part == "w" else 0 * ones for name, ones in names.items() for part in "wb"}


def _biases(net: Net, arrays: Arrays) -> Arrays:
    """Those of NeoXTransformer that are all 0, and so are left out."""
    if net.module is not NeoXTransformer or "b_Q" in arrays:
        return {}
    heads = (net.n_layers, net.n_heads, net.d_head or net.d_model // net.n_heads)
    shapes = {f"b_{name}": heads for name in "QKV"} | {"b_O": (net.n_layers, net.d_model), "b_U": (net.d_vocab_out,)}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def _repeated(net: Net, arrays: Arrays, given: Settings) -> Arrays:
    """Keys and values that heads share, once for each head. Raises Refusal where heads should share them and do not."""
    n_own, found = given.get("n_key_value_heads"), dict[str, np.ndarray]()
    for name in [name for name in ("W_K", "W_V", "b_K", "b_V") if name in arrays]:
        value = arrays[name]
        each = net.n_heads // value.shape[1]
        found[name] = np.repeat(value, each, axis=1) if each > 1 else value
        shared = net.n_heads // int(n_own) if n_own is not None else 1
        each_own = np.repeat(found[name][:, ::shared], shared, axis=1)
        if shared > 1 and not np.array_equal(each_own, found[name], equal_nan=True):
            raise Refusal(f"config.n_key_value_heads is {n_own}: heads of one group have other {name} than each other.")
    return found


LENS = Form(
    what="transformer",
    rules=LENS_RULES,
    net=lens_net,
    settings=lens_settings,
    fields=LENS_FIELDS,
    traits=lens_traits,
    buffers=(*MASK, *(f"{BLOCK}attn.{name}" for name in ("IGNORE", "rotary_sin", "rotary_cos"))),
    hollow=tuple(rule.key for rule in LENS_RULES if rule.parts == ("mlp",)),
    droppable="biases",
    implied=lens_implied,
)
GROUPED = replace(LENS, what="transformer with grouped keys and values", rules=GROUPED_RULES, written=False)

CHUGHTAI_LENS = {  # Transformer in rep_theory/utils/models.py of the released code says no other
    "act_fn": "relu", "normalization_type": None, "positional_embedding_type": "standard", "attention_dir": "causal",
    "use_attn_scale": True, "readout": "last",
}  # fmt: skip
UNIVERSAL_LENS = replace(
    LENS,
    net=lambda sizes, parts, given: lens_net(sizes, parts, CHUGHTAI_LENS | dict(given)),
    fields=LENS_FIELDS | CHUGHTAI | refused("these arrays are those of its transformer", "model", "Transformer"),
)
