"""Layouts of Hugging Face's `transformers`: the state dicts of GPT2LMHeadModel and GPTNeoXForCausalLM (Pythia).

GPT-2's matrices are its Conv1D's, [in, out]; GPT-NeoX's are torch Linear's, [out, in]. GPT-NeoX has query, key and value
of a head side by side, GPT-2 those of all heads.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from toylab.importers.hugging_face_fields import GPT2_FIELDS, NEOX_FIELDS
from toylab.importers.naming import Refusal, printable_value
from toylab.importers.rules import Arrays, Form, Rule, Sizes
from toylab.importers.settings import Settings, chosen, expect, is_size, number, require, same, stated, whole
from toylab.importers.transformers import sizes_of
from toylab.models import BiasedTransformer, NeoXTransformer, Net

ACTS = {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_new", "gelu_pytorch_tanh": "gelu_new"}
READOUTS = {"all": "all", "last": "last"}
BASE = 10000.0
SHARE = "the share of a head that turns"


def _norm(key: str, name: str) -> tuple[Rule, ...]:
    sides = {"weight": "w", "bias": "b"}
    return tuple(Rule(f"{key}.{theirs}", f"{name}_{ours}", "d_model -> d_model") for theirs, ours in sides.items())


def _heads(field: str) -> Callable[[Sizes, Settings], Sizes]:
    """n_heads and d_head, which lie together in the arrays, by the config's number of heads."""

    def told(sizes: Sizes, given: Settings) -> Sizes:
        n_heads: Any = given.get(field)
        if not is_size(n_heads) or (d_model := sizes.get("d_model", 0)) % n_heads:
            return {}
        return {"n_heads": int(n_heads), "d_head": d_model // int(n_heads)}

    return told


def _check_heads(given: Settings, field: str, width: str, d_model: int) -> None:
    n_heads = whole(given, field, 1, d_model, "the number of heads")
    if d_model % n_heads:
        raise Refusal(f"config.{field} is {n_heads}: it must divide config.{width}, which is {d_model}.")


def _tied(given: Settings, default: bool) -> bool:
    tied = given.get("tie_word_embeddings", default)
    if not isinstance(tied, bool):
        raise Refusal(f"config.tie_word_embeddings is {printable_value(tied)}: it must be true or false.")
    return tied


def _check_head(parts: frozenset[str], given: Settings, key: str, tied: bool) -> None:
    if "head" not in parts and not _tied(given, tied):
        raise Refusal(f"source lacks {key}, and config.tie_word_embeddings is not true: then it must be there.")


def _unembedding(key: str, embedding: str, default: bool) -> Callable[[Net, Arrays, Settings], Arrays]:
    """W_U, where it is the embedding, and b_U, which these models have not."""

    def implied(net: Net, arrays: Arrays, given: Settings) -> Arrays:
        own = np.ascontiguousarray(arrays["W_E"].T)
        if "W_U" in arrays and _tied(given, default) and not np.array_equal(arrays["W_U"], own, equal_nan=True):
            raise Refusal(f"{key} is other than {embedding}: then config.tie_word_embeddings must be false.")
        zeros = np.zeros(net.d_vocab_out, own.dtype)
        return {"b_U": zeros} | ({} if "W_U" in arrays else {"W_U": own})

    return implied


def _of(given: Settings, sizes: Sizes, names: Mapping[str, str]) -> dict[str, Any]:
    """The fields that both networks have, after the config's sizes were held against the arrays."""
    for theirs, ours in names.items():
        stated(given, theirs, sizes[ours])
    return sizes_of(sizes) | {"d_vocab_out": sizes["d_vocab"], "readout": chosen(given, "readout", READOUTS, "all")}


GPT2_SIZES = {"vocab_size": "d_vocab", "n_positions": "n_ctx", "n_ctx": "n_ctx", "n_embd": "d_model",
              "n_layer": "n_layers"}  # fmt: skip


def _gpt2_net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    require(given, {"n_head": "the number of heads", "activation_function": "gelu_new, gelu or relu"})
    _check_heads(given, "n_head", "n_embd", sizes["d_model"])
    _check_head(parts, given, "lm_head.weight", True)
    stated(given, "n_inner", sizes["d_mlp"], unset=(None,) if sizes["d_mlp"] == 4 * sizes["d_model"] else ())
    activation = chosen(given, "activation_function", ACTS)
    return Net.of(BiasedTransformer, **_of(given, sizes, GPT2_SIZES), activation=activation, layer_norm=True)


def _gpt2_settings(net: Net) -> dict[str, Any]:
    if not net.layer_norm or net.positions != "abs" or not net.causal:
        raise KeyError("another network")
    said = {"n_head": net.n_heads, "n_inner": net.d_mlp, "activation_function": net.activation, "readout": net.readout}
    return said | {"tie_word_embeddings": False}


def _gpt2(start: str) -> Form:
    block = f"{start}h.{{}}."
    rules = (
        Rule(f"{start}wte.weight", "W_E", "d_vocab d_model -> d_vocab d_model"),
        Rule(f"{start}wpe.weight", "W_pos", "n_ctx d_model -> n_ctx d_model"),
        *_norm(f"{block}ln_1", "ln1"),
        Rule(f"{block}attn.c_attn.weight", "W_Q W_K W_V", "d_model (3 n_heads d_head) -> 3 n_heads d_model d_head"),
        Rule(f"{block}attn.c_attn.bias", "b_Q b_K b_V", "(3 n_heads d_head) -> 3 n_heads d_head"),
        Rule(f"{block}attn.c_proj.weight", "W_O", "(n_heads d_head) d_model -> n_heads d_head d_model"),
        Rule(f"{block}attn.c_proj.bias", "b_O", "d_model -> d_model"),
        *_norm(f"{block}ln_2", "ln2"),
        Rule(f"{block}mlp.c_fc.weight", "W_in", "d_model d_mlp -> d_model d_mlp"),
        Rule(f"{block}mlp.c_fc.bias", "b_in", "d_mlp -> d_mlp"),
        Rule(f"{block}mlp.c_proj.weight", "W_out", "d_mlp d_model -> d_mlp d_model"),
        Rule(f"{block}mlp.c_proj.bias", "b_out", "d_model -> d_model"),
        *_norm(f"{start}ln_f", "ln_final"),
        Rule("lm_head.weight", "W_U", "d_vocab d_model -> d_model d_vocab", ("head",)),
    )
    return Form(
        "GPT-2", rules, _gpt2_net, _gpt2_settings, GPT2_FIELDS, told=_heads("n_head"), absent=("b_U",), together=True,
        buffers=(f"{block}attn.bias", f"{block}attn.masked_bias"),
        implied=_unembedding("lm_head.weight", f"{start}wte.weight", True),
    )  # fmt: skip


GPT2 = (_gpt2("transformer."), _gpt2(""))  # the second is GPT2Model's own, and the file on the Hub's

NEOX_SIZES = {"vocab_size": "d_vocab", "hidden_size": "d_model", "num_hidden_layers": "n_layers",
              "intermediate_size": "d_mlp"}  # fmt: skip


def rotary_dim(given: Settings, d_head: int) -> int:
    """How many entries of a head turn, by GPT-NeoX's config: in `rope_parameters` from transformers 5 on."""
    rope = given.get("rope_parameters")
    if not isinstance(rope, Mapping | None):
        raise Refusal(f"config.rope_parameters is {printable_value(rope)}: it must be a mapping.")
    inner = {f"rope_parameters.{name}": value for name, value in (rope or {}).items()}
    known = {"rope_type", "rope_theta", "partial_rotary_factor"}
    if unknown := [name for name in inner if name.split(".", 1)[1] not in known]:
        raise Refusal(f"config has {unknown[0]}: no such field is known, nor what it does to the logits.")
    angles = "rotary positions here turn by t·10000^(−2i/rotary_dim)"
    for name, only in {"rotary_emb_base": BASE, "rope_theta": BASE}.items():
        for where in (name, f"rope_parameters.{name}"):
            expect(where, (inner | dict(given)).get(where, only), (only,), angles)
    expect("rope_parameters.rope_type", inner.get("rope_parameters.rope_type", "default"), ("default",), angles)
    shares_are = ("rotary_pct", "partial_rotary_factor", "rope_parameters.partial_rotary_factor")
    names = [name for name in shares_are if name in inner | dict(given)]
    if not names:
        require({}, {"rotary_pct": SHARE})
    shares = [number(inner | dict(given), name, 0, 1, SHARE) for name in names]
    for name, share in zip(names, shares, strict=True):
        if not same(share, shares[0]):
            raise Refusal(f"config.{names[0]} is {shares[0]} and config.{name} {share}: they must be the same.")
    turning = int(d_head * shares[0])  # as the code has it
    if turning < 2 or turning % 2:
        raise Refusal(f"config.{names[0]} is {shares[0]}: of a head's {d_head} entries {turning} turn, no even number.")
    return turning


def _neox_net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    wanted = {"num_attention_heads": "the number of heads", "max_position_embeddings": "the most positions",
              "hidden_act": "gelu, gelu_new or relu", "use_parallel_residual": "true or false"}  # fmt: skip
    said = {"rope_parameters", "partial_rotary_factor"} & set(given)
    require(given, wanted | ({} if said else {"rotary_pct": SHARE}))
    _check_heads(given, "num_attention_heads", "hidden_size", sizes["d_model"])
    _check_head(parts, given, "embed_out.weight", False)
    parallel = given["use_parallel_residual"]
    if not isinstance(parallel, bool):
        raise Refusal(f"config.use_parallel_residual is {printable_value(parallel)}: it must be true or false.")
    sizes = sizes | {"n_ctx": whole(given, "max_position_embeddings", 1, 1 << 20, "the most positions")}
    return Net.of(
        NeoXTransformer,
        **_of(given, sizes, NEOX_SIZES),
        activation=chosen(given, "hidden_act", ACTS),
        parallel=parallel,
        rotary_dim=rotary_dim(given, sizes["d_head"]),
    )


def _neox_settings(net: Net) -> dict[str, Any]:
    d_head = net.d_head or net.d_model // net.n_heads
    turning = net.rotary_dim or d_head
    share = turning / d_head
    share = share if int(d_head * share) == turning else float(np.nextafter(share, 1))
    said = {"num_attention_heads": net.n_heads, "max_position_embeddings": net.n_ctx, "hidden_act": net.activation}
    said |= {"use_parallel_residual": net.parallel, "rotary_pct": share, "readout": net.readout}
    return said | {"tie_word_embeddings": False}


def _neox(head: str) -> Form:
    start = "gpt_neox."
    block = f"{start}layers.{{}}."
    rules = (
        Rule(f"{start}embed_in.weight", "W_E", "d_vocab d_model -> d_vocab d_model"),
        *_norm(f"{block}input_layernorm", "ln1"),
        Rule(
            f"{block}attention.query_key_value.weight", "W_Q W_K W_V",
            "(n_heads 3 d_head) d_model -> 3 n_heads d_model d_head",
        ),
        Rule(f"{block}attention.query_key_value.bias", "b_Q b_K b_V", "(n_heads 3 d_head) -> 3 n_heads d_head"),
        Rule(f"{block}attention.dense.weight", "W_O", "d_model (n_heads d_head) -> n_heads d_head d_model"),
        Rule(f"{block}attention.dense.bias", "b_O", "d_model -> d_model"),
        *_norm(f"{block}post_attention_layernorm", "ln2"),
        Rule(f"{block}mlp.dense_h_to_4h.weight", "W_in", "d_mlp d_model -> d_model d_mlp"),
        Rule(f"{block}mlp.dense_h_to_4h.bias", "b_in", "d_mlp -> d_mlp"),
        Rule(f"{block}mlp.dense_4h_to_h.weight", "W_out", "d_model d_mlp -> d_mlp d_model"),
        Rule(f"{block}mlp.dense_4h_to_h.bias", "b_out", "d_model -> d_model"),
        *_norm(f"{start}final_layer_norm", "ln_final"),
        Rule(head, "W_U", "d_vocab d_model -> d_model d_vocab", ("head",)),
    )  # fmt: skip
    named = ("bias", "masked_bias", "rotary_emb.inv_freq")
    return Form(
        "GPT-NeoX", rules, _neox_net, _neox_settings, NEOX_FIELDS, told=_heads("num_attention_heads"), absent=("b_U",),
        together=True,
        buffers=(*(f"{block}attention.{name}" for name in named), f"{start}rotary_emb.inv_freq"),
        implied=_unembedding(head, f"{start}embed_in.weight", False),
    )  # fmt: skip


NEOX = (_neox("embed_out.weight"), _neox("lm_head.weight"))  # in files; in memory from transformers 5 on
