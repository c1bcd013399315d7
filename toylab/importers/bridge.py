"""The layout of a TransformerBridge's `state_dict()`, in TransformerLens 3 and 4.

Its names are the same for each model that it wraps, its matrices are not: torch Linear's [out, in] for TransformerLens'
own and for GPT-NeoX; for GPT-2 those of Conv1D, [in, out], but for queries, keys and values. Square matrices look alike
in both, so that config must name the architecture.
"""

from dataclasses import replace
from typing import Any

from toylab.importers.lens import LENS, LENS_RULES, lens_settings
from toylab.importers.lens_nets import BRIDGED, lens_net, unsaid
from toylab.importers.naming import Refusal
from toylab.importers.rules import Form, Rule, Sizes
from toylab.importers.settings import Settings, expect, is_size, require, same, whole
from toylab.models import NeoXTransformer, Net

NATIVE, CONV, NEOX = BRIDGED
HEADS = {"Q": "n_heads", "K": "n_kv_heads", "V": "n_kv_heads"}
LINEAR_AXES = {
    "W_O": "d_model (n_heads d_head) -> n_heads d_head d_model",
    "W_in": "d_mlp d_model -> d_model d_mlp",
    "W_out": "d_model d_mlp -> d_mlp d_model",
}
CONV_AXES = {"W_O": "(n_heads d_head) d_model -> n_heads d_head d_model"}
SHARED_AXES = {
    **{f"W_{name}": f"({heads} d_head) d_model -> {heads} d_model d_head" for name, heads in HEADS.items()},
    **{f"b_{name}": f"({heads} d_head) -> {heads} d_head" for name, heads in HEADS.items()},
    "W_U": "d_vocab_out d_model -> d_model d_vocab_out",
}


def _renamed(rule: Rule, axes: dict[str, str]) -> Rule:
    """A rule of TransformerLens' names for the bridge's: `blocks.{}.attn.W_Q` is `blocks.{}.attn.q.weight`."""
    place, name = rule.key.rsplit(".", 1)
    kind = "bias" if name[0] == "b" else "weight"
    component = name[2:].lower() if place.endswith((".attn", ".mlp")) else ""
    key = ".".join([place, *([component] if component else []), kind])
    return replace(rule, key=key, axes=axes.get(rule.name, rule.axes))


def _told(sizes: Sizes, given: Settings) -> Sizes:
    """What lies together in the arrays: heads, and those with keys and values of their own."""
    n_heads: Any = given.get("n_heads")
    n_own: Any = n_heads if given.get("n_key_value_heads") is None else given["n_key_value_heads"]
    d_head: Any = given.get("d_head")
    if d_head is None and is_size(n_heads):
        d_head = sizes.get("d_model", 0) // int(n_heads)
    if not (is_size(n_heads) and is_size(n_own) and is_size(d_head)):
        return {}
    return {"n_heads": int(n_heads), "n_kv_heads": int(n_own), "d_head": int(d_head)}


def _net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    wanted = {"architecture": f"{NATIVE}, {CONV} or {NEOX}", "n_heads": "the number of heads"}
    require(given, wanted | unsaid(sizes, parts, given))
    expect("architecture", given["architecture"], BRIDGED, "its matrices lie by the model that a bridge wraps")
    for name in ("n_heads", "n_key_value_heads", "d_head"):
        if given.get(name) is not None:
            whole(given, name, 1, 1 << 20, "a size")
    if "n_heads" not in sizes:
        raise Refusal(
            f"config.n_heads is {given['n_heads']}: it must be at most d_model, {sizes['d_model']}, without d_head."
        )
    positions = given.get("positional_embedding_type", "standard")
    expect("positional_embedding_type", positions, ("standard", "rotary"), "the wrapped models have no others")
    return lens_net(sizes, parts, given)


def _settings(net: Net) -> dict[str, Any]:
    d_head = net.d_head or net.d_model // net.n_heads
    found = lens_settings(net) | {"n_heads": net.n_heads, "d_head": d_head}
    return found | {"architecture": NEOX if net.module is NeoXTransformer else NATIVE}


def _form(what: str, axes: dict[str, str], *architectures: str, written: bool = True) -> Form:
    return replace(
        LENS,
        what=what,
        rules=tuple(_renamed(rule, SHARED_AXES | axes) for rule in LENS_RULES),
        net=_net,
        settings=_settings,
        told=_told,
        suits=lambda given: any(same(given.get("architecture"), one) for one in architectures),
        buffers=(),
        hollow=(),
        written=written,
    )


BRIDGE = (
    _form("TransformerBridge", LINEAR_AXES, NATIVE, NEOX),
    _form("TransformerBridge of GPT-2", CONV_AXES, CONV, written=False),
)
