"""Layouts of decoders with LayerNorm behind each sum, after Power et al. 2022: openai/grok and danielmamay/grokking."""

from typing import Any

from toylab.importers.naming import Refusal
from toylab.importers.rules import Form, Rule, Sizes
from toylab.importers.settings import Settings, chosen, harmless, read, refused, require, stated, whole
from toylab.importers.transformers import ACTIVATIONS, ANY_OF, SAME_SIZE, sizes_of
from toylab.models import Net, PostNormTransformer

READOUTS = {"last": "last", "all": "all"}
OWN = read("toylab's own: logits at the last position, or all", "readout")
TRAINING = "how it was trained"
SQUARE = "d_head d_model -> d_model d_head"

GROK_FIELDS = {  # hparams: add_args and add_model_specific_args in grok/training.py
    **OWN,
    **read(ANY_OF, "non_linearity"),
    **read(SAME_SIZE, "n_layers", "n_heads", "d_model", "d_key", "max_context_len"),
    **harmless("what it was trained on: networks take tokens", "math_operator", "operand_length", "train_data_pct"),
    **harmless(TRAINING, "batchsize", "warmup_steps", "anneal_lr_steps", "anneal_lr", "max_lr", "weight_decay"),
    **harmless(TRAINING, "weight_decay_kind", "noise_factor", "random_seed", "max_epochs", "max_steps", "gpu"),
    **harmless("of training alone: networks here are evaluated", "dropout", "weight_noise"),
    **harmless("how it was saved", "save_activations", "save_outputs", "logdir", "datadir", "checkpoint_path"),
    **refused("its other architectures have other arrays", "architecture", "standard"),
}


def _grok_rules(prefix: str) -> tuple[Rule, ...]:
    block = f"{prefix}decoder.blocks.{{}}."
    heads = f"{block}self_attn.attn_heads.{{head}}."
    return (
        Rule(f"{prefix}embedding.weight", "W_E", "d_vocab d_model -> d_vocab d_model"),
        *(Rule(f"{heads}W{name.lower()}.weight", f"W_{name}", SQUARE) for name in "QKV"),
        Rule(f"{block}self_attn.Wo.weight", "W_O", "d_model (n_heads d_head) -> n_heads d_head d_model"),
        *_norms(block),
        Rule(f"{block}ffn.ffn.0.weight", "W_in", "d_mlp d_model -> d_model d_mlp"),
        Rule(f"{block}ffn.ffn.2.weight", "W_out", "d_model d_mlp -> d_mlp d_model"),
        Rule(f"{prefix}linear.weight", "W_U", "d_vocab_out d_model -> d_model d_vocab_out"),
    )


def _norms(block: str) -> list[Rule]:
    parts = {"weight": "w", "bias": "b"}
    norms = {"self_attn_norm": "ln1_post", "ffn_norm": "ln2_post"}
    return [
        Rule(f"{block}{theirs}.{part}", f"{ours}_{end}", "d_model -> d_model")
        for theirs, ours in norms.items()
        for part, end in parts.items()
    ]


def _grok(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    for name in ("n_layers", "n_heads", "d_model"):
        stated(given, name, sizes[name])
    stated(given, "d_key", sizes["d_head"])
    n_ctx = whole(given, "max_context_len", 1, 1 << 20, "the most positions")
    require(given, {"non_linearity": ANY_OF})
    activation = chosen(given, "non_linearity", ACTIVATIONS)
    return _net(sizes | {"n_ctx": n_ctx}, given, activation=activation, positions="sinusoidal")


def _net(sizes: Sizes, given: Settings, **fields: Any) -> Net:
    known = {name: size for name, size in sizes_of(sizes).items() if name != "d_head"}
    return Net.of(PostNormTransformer, **known, **fields, readout=chosen(given, "readout", READOUTS, "last"))


def _grok_form(prefix: str) -> Form:
    table, mask = f"{prefix}position_encoding", f"{prefix}self_attn_mask"
    return Form(
        what="decoder",
        rules=_grok_rules(prefix),
        net=_grok,
        settings=lambda net: {
            "non_linearity": net.activation, "max_context_len": net.n_ctx, "readout": net.readout,
        },
        fields=GROK_FIELDS,
        buffers=(table, mask),
        rows={table: "max_context_len"},
    )  # fmt: skip


GROK = (_grok_form("transformer."), _grok_form(""))  # of the LightningModule, or of its transformer

MAMAY_FIELDS = {  # grokking/cli.py
    **OWN,
    **read("toylab's own: relu or gelu, where it is not that of the code", "activation"),
    **read("the arrays do not say it", "num_heads"),
    **read(SAME_SIZE, "num_layers", "dim_model", "prime"),
    **harmless("what it was trained on: networks take tokens", "operation", "training_fraction"),
    **harmless(TRAINING, "batch_size", "learning_rate", "weight_decay", "num_steps", "device"),
}
IN_PROJ = "(3 n_heads d_head)"


def _mamay_rules(layers: str, biased: bool) -> tuple[Rule, ...]:
    """`layers` is the name of the Sequential of blocks, before the final LayerNorm, if any, and the unembedding."""
    block, last = f"{layers}.{{}}.", f"{layers}.{{last{'+1' * biased}}}"
    return (
        Rule("token_embeddings.weight", "W_E", "d_vocab d_model -> d_vocab d_model"),
        Rule("position_embeddings.weight", "W_pos", "n_ctx d_model -> n_ctx d_model"),
        Rule(f"{block}self_attn.in_proj_weight", "W_Q W_K W_V", f"{IN_PROJ} d_model -> 3 n_heads d_model d_head"),
        Rule(f"{block}self_attn.out_proj.weight", "W_O", "d_model (n_heads d_head) -> n_heads d_head d_model"),
        *_norms(block),
        Rule(f"{block}ffn.0.weight", "W_in", "d_mlp d_model -> d_model d_mlp"),
        Rule(f"{block}ffn.2.weight", "W_out", "d_model d_mlp -> d_mlp d_model"),
        Rule(f"{last}.weight", "W_U", "d_vocab_out d_model -> d_model d_vocab_out"),
        *(_biases(layers, block, last) if biased else ()),
    )


def _biases(layers: str, block: str, last: str) -> list[Rule]:
    return [
        Rule(f"{block}self_attn.in_proj_bias", "b_Q b_K b_V", f"{IN_PROJ} -> 3 n_heads d_head"),
        Rule(f"{block}self_attn.out_proj.bias", "b_O", "d_model -> d_model"),
        Rule(f"{block}ffn.0.bias", "b_in", "d_mlp -> d_mlp"),
        Rule(f"{block}ffn.2.bias", "b_out", "d_model -> d_model"),
        Rule(f"{layers}.{{last}}.weight", "ln_final_w", "d_model -> d_model"),
        Rule(f"{layers}.{{last}}.bias", "ln_final_b", "d_model -> d_model"),
        Rule(f"{last}.bias", "b_U", "d_vocab_out -> d_vocab_out"),
    ]


def _mamay(biased: bool) -> Form:
    activation = "gelu" if biased else "relu"

    def net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
        require(given, {"num_heads": "a whole number"})
        for theirs, ours in {"num_layers": "n_layers", "dim_model": "d_model"}.items():
            stated(given, theirs, sizes[ours])
        stated(given, "prime", sizes["d_vocab"] - 2)
        own = chosen(given, "activation", ACTIVATIONS, activation)
        return _net(sizes, given, activation=own, positions="abs", biases=biased, final_norm=biased)

    return Form(
        what="decoder with biases" if biased else "decoder",
        rules=_mamay_rules("model" if biased else "layers", biased),
        net=net,
        settings=lambda net: {"num_heads": net.n_heads, "activation": net.activation, "readout": net.readout},
        fields=MAMAY_FIELDS,
        buffers=() if biased else ("layers.{}.attn_mask",),
        told=_heads,
    )


def _heads(sizes: Sizes, given: Settings) -> Sizes:
    """Their number is in the config alone, and where it is not, the net is refused."""
    if "num_heads" not in given or "d_model" not in sizes:
        return {}
    n_heads = whole(given, "num_heads", 1, 1 << 20, "the number of heads")
    if sizes["d_model"] % n_heads:
        raise Refusal(f"config.num_heads is {n_heads}: d_model, which is {sizes['d_model']}, must be a multiple of it.")
    return {"n_heads": n_heads, "d_head": sizes["d_model"] // n_heads}


MAMAY = (_mamay(False), _mamay(True))  # as it is since it has a mask of its own, and as it was
