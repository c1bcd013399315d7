"""Layouts of transformers whose vectors are columns (W x) but for W_U: Nanda et al. 2023, Zhong et al. 2023.

TransformerLens (lens.py) names its arrays alike and has vectors as rows (x W).
"""

from typing import Any

from toylab.importers.pairs import ZHONG
from toylab.importers.rules import Form, Rule, Sizes
from toylab.importers.settings import (
    Settings,
    chosen,
    harmless,
    number,
    read,
    refused,
    require,
    stated,
)  # fmt: skip
from toylab.models import Net, PizzaTransformer, Transformer

HEADS = "n_heads d_head d_model -> n_heads d_model d_head"
BLOCK = "blocks.{}."


def _around(block: str) -> tuple[Rule, ...]:
    """Embedding, attention and unembedding."""
    return (
        Rule("embed.W_E", "W_E", "d_model d_vocab -> d_vocab d_model"),
        Rule("pos_embed.W_pos", "W_pos", "n_ctx d_model -> n_ctx d_model"),
        *(Rule(f"{block}attn.W_{name}", f"W_{name}", HEADS) for name in "QKV"),
        Rule(f"{block}attn.W_O", "W_O", "d_model (n_heads d_head) -> n_heads d_head d_model"),
        Rule("unembed.W_U", "W_U", "d_model d_vocab_out -> d_model d_vocab_out"),
    )


COLUMNS = (
    *_around(BLOCK),
    Rule(f"{BLOCK}mlp.W_in", "W_in", "d_mlp d_model -> d_model d_mlp"),
    Rule(f"{BLOCK}mlp.b_in", "b_in", "d_mlp -> d_mlp"),
    Rule(f"{BLOCK}mlp.W_out", "W_out", "d_model d_mlp -> d_mlp d_model"),
    Rule(f"{BLOCK}mlp.b_out", "b_out", "d_model -> d_model"),
)
MASK = (f"{BLOCK}attn.mask",)
ACTIVATIONS = {"relu": "relu", "gelu": "gelu"}  # both exact, torch's erf

SIZES = ("d_vocab", "d_vocab_out", "n_ctx", "n_layers", "d_model", "n_heads", "d_head", "d_mlp")


def sizes_of(sizes: Sizes) -> dict[str, Any]:
    return {name: sizes[name] for name in SIZES if name in sizes}


ANY_OF = "relu or gelu"
SAME_SIZE = "a size, held against the arrays"
NANDA_FIELDS = {  # Config in transformers.py of the released code; its LayerNorm is called nowhere
    **read(ANY_OF, "act_type"),
    **read(SAME_SIZE, "num_layers", "d_model", "d_vocab", "n_ctx", "d_mlp", "num_heads"),
    **harmless("what it was trained on: networks take tokens", "p", "fn_name", "frac_train", "batch_style"),
    **harmless("how it was trained", "lr", "weight_decay", "num_epochs", "stopping_thresh", "seed"),
    **harmless("how it was saved and measured", "save_models", "save_every", "take_metrics_every_n_epochs", "device"),
    **harmless("read by a LayerNorm that the code calls nowhere", "use_ln"),
}
NANDA_SIZES = {"num_layers": "n_layers", "num_heads": "n_heads"}


def _progress(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    for name in ("num_layers", "d_model", "d_vocab", "n_ctx", "d_mlp", "num_heads"):
        stated(given, name, sizes[NANDA_SIZES.get(name, name)])
    require(given, {"act_type": "ReLU or GeLU"})
    return Net.of(Transformer, **sizes_of(sizes), activation=chosen(given, "act_type", ACTIVATIONS))


PROGRESS = Form(
    what="transformer",
    rules=COLUMNS,
    net=_progress,
    settings=lambda net: {"act_type": {"relu": "ReLU", "gelu": "GeLU"}[net.activation]},
    fields=NANDA_FIELDS,
    buffers=MASK,
)

ATTENTION = "attn_blocks.{}."
ATTENTION_FIELDS = {  # model_config of the saved runs induction_head and skip_trigram of the same repository
    **read("orig (learned positions, added to the residual stream)", "pos_embed_type"),
    **read("toylab's own: logits at all positions, or the last", "readout"),
    **read(SAME_SIZE, "num_layers", "d_model", "d_vocab", "n_ctx", "num_heads", "d_head"),
    **harmless("of an MLP, which these blocks have not", "act_type", "d_mlp"),
    **harmless("how it was trained", "seed"),
}


def _attention_only(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    for name in ("num_layers", "d_model", "d_vocab", "n_ctx", "num_heads", "d_head"):
        stated(given, name, sizes[NANDA_SIZES.get(name, name)])
    require(given, {"pos_embed_type": "orig"})
    positions = chosen(given, "pos_embed_type", {"orig": "abs"})
    readout = chosen(given, "readout", {"all": "all", "last": "last"}, "all")
    return Net.of(Transformer, **sizes_of(sizes), d_mlp=0, positions=positions, readout=readout)


PROGRESS_ATTENTION = Form(
    what="attention-only transformer",
    rules=_around(ATTENTION),
    net=_attention_only,
    settings=lambda net: {"pos_embed_type": {"abs": "orig"}[net.positions], "readout": net.readout},
    fields=ATTENTION_FIELDS,
    buffers=(f"{ATTENTION}attn.mask",),
)

ZHONG_FIELDS = {
    **ZHONG,
    **read("the attention rate α", "attn_coeff"),
    **read(ANY_OF, "act_fn"),
    **read(SAME_SIZE, "n_layers", "d_model", "n_heads", "d_head"),
    **harmless("handed to no code: every position sees every other", "attention_dir"),
    **refused("its Linearformer has other arrays", "use_linear", False),
}


def _pizza(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    for name in ("n_layers", "d_model", "n_heads", "d_head"):
        stated(given, name, sizes[name])
    rate_is = "the attention rate α of the model: 0 for pizzas, 1 for clocks"
    require(given, {"attn_coeff": rate_is, "act_fn": "ReLU or GeLU"})
    rate = number(given, "attn_coeff", 0, 1, rate_is)
    activation = chosen(given, "act_fn", ACTIVATIONS)
    return Net.of(PizzaTransformer, **sizes_of(sizes), activation=activation, attention_rate=float(rate))


PIZZA = Form(
    what="transformer",
    rules=COLUMNS,
    net=_pizza,
    settings=lambda net: {
        "attn_coeff": float(net.attention_rate),
        "act_fn": {"relu": "ReLU", "gelu": "GeLU"}[net.activation],
    },
    fields=ZHONG_FIELDS,
    buffers=MASK,  # registered there and never applied
)
