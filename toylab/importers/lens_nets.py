"""The network that a config of TransformerLens and its arrays make."""

from toylab.importers.hugging_face import rotary_dim
from toylab.importers.lens_fields import OTHER_ARCHITECTURES
from toylab.importers.naming import Refusal, printable_value
from toylab.importers.rules import Sizes
from toylab.importers.settings import Settings, chosen, expect, require, same, stated, whole
from toylab.importers.transformers import ACTIVATIONS, sizes_of
from toylab.models import BiasedTransformer, NeoXTransformer, Net, Transformer

LENS_POSITIONS = {"standard": "abs", "shortformer": "shortformer", "rotary": "rotary", "none": "none"}
NORMS = {"LN": "LN", "LNPre": "LNPre", None: None}


LENS_ACTIVATIONS = ACTIVATIONS | {"gelu_new": "gelu_new"}
BRIDGED = ("TransformerLensNative", "GPT2LMHeadModel", "GPTNeoXForCausalLM")  # models that a TransformerBridge wraps


def lens_net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    _check_lens_sizes(sizes, parts, given)
    require(given, unsaid(sizes, parts, given))
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
    activation = chosen(given, "act_fn", LENS_ACTIVATIONS) if "mlp" in parts else "relu"
    readout = chosen(given, "readout", {"all": "all", "last": "last"}, "all")  # the code gives those of all
    causal = chosen(given, "attention_dir", {"causal": True, "bidirectional": False})
    own = {"d_mlp": 0} | sizes_of(sizes) | {"activation": activation, "readout": readout}
    turning, side = _turning(sizes, given) if positions == "rotary" else sizes["d_head"], _is_parallel(given, parts)
    if side or turning < sizes["d_head"]:
        if positions != "rotary" or norm is None or "mlp" not in parts or not causal:
            field = "parallel_attn_mlp is True" if side else f"rotary_dim is {turning}"
            raise Refusal(f"config.{field}: toylab has it with LayerNorm, MLP, causal mask and rotary positions alone.")
        return Net.of(NeoXTransformer, **own, rotary_dim=turning, parallel=side)
    module = BiasedTransformer if "biases" in parts else Transformer
    return Net.of(module, **own, layer_norm=norm is not None, causal=causal, positions=positions)


def _is_parallel(given: Settings, parts: frozenset[str]) -> bool:
    """Whether attention and MLP read the same; without an MLP the code does not ask."""
    fields = [name for name in ("parallel_attn_mlp", "use_parallel_residual") if name in given]
    for name in fields if "mlp" in parts else ():
        expect(name, given[name], (True, False), "a block here has attention and MLP side by side or after each other")
    said = {bool(given[name]) for name in fields} if "mlp" in parts else {False}
    if len(said) > 1:
        raise Refusal("config.parallel_attn_mlp and config.use_parallel_residual differ: they must be the same.")
    return said == {True}


def _turning(sizes: Sizes, given: Settings) -> int:
    """How many entries of a head turn with their position."""
    architecture, d_head = given.get("architecture"), sizes["d_head"]
    if same(architecture, "TransformerLensNative"):
        raise Refusal("config.architecture is TransformerLensNative: its rotary positions turn pairs of neighbours.")
    turning = given.get("rotary_dim")
    if turning is None and same(architecture, "GPTNeoXForCausalLM"):
        return rotary_dim(given, d_head)
    if turning is None:
        return d_head
    turning = whole(given, "rotary_dim", 2, d_head, "how many entries of a head turn")
    expect("rope_parameters", given.get("rope_parameters"), (None,), "config.rotary_dim says what turns")
    if turning % 2:
        raise Refusal(f"config.rotary_dim is {turning}: it must be even.")
    return turning


def unsaid(sizes: Sizes, parts: frozenset[str], given: Settings) -> dict[str, str]:
    """The settings that change the function and that these arrays leave open."""
    scale = f"√d_head = {sizes['d_head'] ** 0.5:.6g}" if "d_head" in sizes else "√d_head"
    return {
        **({"act_fn": "relu, gelu or gelu_new"} if "mlp" in parts else {}),
        **({} if "norm" in parts else {"normalization_type": "LNPre or null"}),
        "positional_embedding_type": "standard or shortformer" if "positions" in parts else "rotary or none",
        "attention_dir": "causal or bidirectional",
        **({"attn_scale": scale} if "use_attn_scale" not in given else {}),
        **({} if "positions" in parts else {"n_ctx": "the most positions"}),
    }


def _check_lens_sizes(sizes: Sizes, parts: frozenset[str], given: Settings) -> None:
    """Sizes and what blocks have, and how scores are divided."""
    held = ("n_layers", "d_model", "n_heads", "d_head", "d_vocab", "d_vocab_out")
    for name in (*held, *(("d_mlp",) if "mlp" in parts else ()), *(("n_ctx",) if "positions" in parts else ())):
        stated(given, name, sizes[name], unset=(-1, None))
    _check_groups(sizes, given)
    if "attn_only" in given and not same(given["attn_only"], "mlp" not in parts):
        there = "" if "mlp" in parts else "not "
        raise Refusal(f"config.attn_only is {printable_value(given['attn_only'])}: mlp.W_in is {there}there.")
    scale = sizes["d_head"] ** 0.5
    for name, only in {"use_attn_scale": (True,), "attn_scale": (scale, -1.0)}.items():
        if name in given:
            expect(name, given[name], only, "scores here are divided by √d_head alone")
    if any(same(given.get("original_architecture"), one) for one in OTHER_ARCHITECTURES):
        value = printable_value(given["original_architecture"])
        raise Refusal(f"config.original_architecture is {value}: toylab has no such blocks.")
    if not any(same(given.get("architecture"), one) for one in (None, *BRIDGED)):
        value = printable_value(given["architecture"])
        raise Refusal(f"config.architecture is {value}: of bridged models {', '.join(BRIDGED)} are read.")


def _check_groups(sizes: Sizes, given: Settings) -> None:
    """How many heads have keys and values of their own."""
    n_heads, own = sizes["n_heads"], sizes.get("n_kv_heads", sizes["n_heads"])
    if own == n_heads and given.get("n_key_value_heads") is not None:  # arrays may repeat what heads share
        own = whole(given, "n_key_value_heads", 1, n_heads, "the heads with keys and values of their own")
    stated(given, "n_key_value_heads", own, unset=(None,) if own == n_heads else ())
    if n_heads % own:
        raise Refusal(f"n_key_value_heads is {own}: it must divide n_heads, which is {n_heads}.")
