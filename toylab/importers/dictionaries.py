"""Layout of SAELens' dictionaries (sae_lens 3 to 6): `cfg.json` beside `sae_weights.safetensors`."""

from typing import Any

import numpy as np

from toylab.importers.naming import Refusal
from toylab.importers.rules import Arrays, Form, Rule, Sizes
from toylab.importers.settings import Settings, chosen, harmless, read, refused, same, stated, whole
from toylab.models import JumpReLUAutoencoder, Net, SparseAutoencoder

ARCHITECTURES = {"standard": "standard", "topk": "topk", "jumprelu": "jumprelu"}
EQUAL = 1e-5  # of each other, norms of rows that float32 has rounded
TEXT = "of text and its model: networks here take vectors"
FIELDS = {  # to_dict() of SAEConfig in sae_lens 6, and of that before, in saes/ and loading/
    **read("standard, topk or jumprelu; before version 6 told by activation_fn_str", "architecture"),
    **read("of topk, how many latents are on", "k"),
    **read("before version 6: relu, or topk with k", "activation_fn_str", "activation_fn", "activation_fn_kwargs"),
    **read("a size, held against the arrays", "d_in", "d_sae"),
    **read("whether b_dec is taken off the input", "apply_b_dec_to_input"),
    **read("whether topk looks at latents times the norms of rows of W_dec", "rescale_acts_by_decoder_norm"),
    **refused("inputs here enter as they are", "normalize_activations", "none", None, False),
    **refused("latents here are not scaled once more", "finetuning_scaling_factor", None, False),
    **harmless("inputs here lie flat, [..., d_in]", "reshape_activations"),
    **harmless(TEXT, "metadata", "model_name", "model_from_pretrained_kwargs", "hook_name", "hook_layer", "hook_point"),
    **harmless(TEXT, "hook_point_layer", "hook_head_index", "hook_point_head_index", "prepend_bos", "context_size"),
    **harmless(TEXT, "dataset_path", "dataset_trust_remote_code", "neuronpedia_id", "seqpos_slice"),
    **harmless("which version wrote it", "sae_lens_version", "sae_lens_training_version"),
    **harmless("where and in what precision it was computed: here float32", "device", "dtype"),
}  # fmt: skip

ENCODER = (
    Rule("W_enc", "W_enc", "d_model d_dict -> d_model d_dict"),
    Rule("W_dec", "W_dec", "d_dict d_model -> d_dict d_model"),
    Rule("b_dec", "b_dec", "d_model -> d_model"),
)
BIAS = Rule("b_enc", "b_enc", "d_dict -> d_dict")


def _architecture(given: Settings) -> str:
    if "architecture" in given:
        return chosen(given, "architecture", ARCHITECTURES)
    name = "activation_fn_str" if "activation_fn_str" in given else "activation_fn"
    if name not in given:
        raise Refusal("config lacks architecture (standard, topk or jumprelu): hand over the dictionary's cfg.json.")
    return chosen(given, name, {"relu": "standard", "topk": "topk"})


def _k(given: Settings) -> int:
    own = given.get("activation_fn_kwargs")
    return whole(
        own if "k" not in given and isinstance(own, dict) else given, "k", 1, 1 << 30, "the latents that are on"
    )


def _net(jump: bool) -> Any:
    def net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
        kind = _architecture(given)
        if (kind == "jumprelu") != jump:
            raise Refusal(f"config.architecture is {kind!r}: threshold is {'' if jump else 'not '}there.")
        stated(given, "d_in", sizes["d_model"])
        stated(given, "d_sae", sizes["d_dict"])
        for name in ("apply_b_dec_to_input", "rescale_acts_by_decoder_norm"):
            chosen_bool(given, name)
        fields: dict[str, Any] = {name: sizes[name] for name in ("d_model", "d_dict")}
        if jump:
            return Net.of(JumpReLUAutoencoder, **fields)
        k = _k(given) if kind == "topk" else 0
        return Net.of(SparseAutoencoder, **fields, tied=False, k=k, decoder_bias=True)

    return net


def chosen_bool(given: Settings, name: str, default: bool = True) -> bool:
    if name in given and not any(same(given[name], one) for one in (True, False)):
        raise Refusal(f"config.{name} is {given[name]!r}: it must be true or false.")
    return bool(given.get(name, default))


def _folded(net: Net, arrays: Arrays, given: Settings) -> Arrays:
    """The same function by a dictionary of unit rows: what enters a latent is multiplied by the norm of its row of W_dec,
    and with it the latent, as SAELens' fold_W_dec_norm does. A row of zeros stays."""
    if not arrays.keys() >= {"W_enc", "W_dec", "b_enc", "b_dec"}:
        return {}
    W_enc, W_dec, b_enc, b_dec = (np.asarray(arrays[name], float) for name in ("W_enc", "W_dec", "b_enc", "b_dec"))
    norms = np.linalg.norm(W_dec, axis=1)
    norms = np.where(norms > 0, norms, 1)
    raw = bool(getattr(net, "k", 0)) and not chosen_bool(given, "rescale_acts_by_decoder_norm", False)
    if raw and np.ptp(norms) > EQUAL * norms.max():
        raise Refusal(
            f"W_dec has rows of norms {norms.min():.3g} to {norms.max():.3g}, and config.rescale_acts_by_decoder_norm is"
            " not true: a dictionary here has unit rows, by which another k latents would be on."
        )
    if not chosen_bool(given, "apply_b_dec_to_input"):
        b_enc = b_enc + b_dec @ W_enc  # here b_dec is taken off
    folded = {"W_enc": W_enc * norms, "W_dec": W_dec / norms[:, None], "b_enc": b_enc * norms}
    if "threshold" in arrays:
        folded["threshold"] = np.asarray(arrays["threshold"], float) * norms
    return {name: value.astype(arrays[name].dtype) for name, value in folded.items()}


def _gated(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    raise Refusal("config.architecture is 'gated', by the arrays: standard, topk and jumprelu are read.")


def _form(what: str, net: Any, *rules: Rule) -> Form:
    return Form(
        what, (*ENCODER, *rules), net, lambda net: {}, FIELDS, implied=_folded, written=False, together=True,
    )  # fmt: skip


SAE_LENS = (
    _form("autoencoder", _net(False), BIAS),
    _form("JumpReLU autoencoder", _net(True), BIAS, Rule("threshold", "threshold", "d_dict -> d_dict")),
    _form(
        "gated autoencoder", _gated, *(Rule(name, name, "d_dict -> d_dict") for name in ("b_gate", "b_mag", "r_mag"))
    ),
)
