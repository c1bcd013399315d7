"""Loads weights that others trained as a toylab network: `net, params = load(source, layout=…)`.

    net, params = load("model.pt", layout="pizza", config={"attn_coeff": 0.0, "act_fn": "ReLU"})
    logits, cache = net.apply(params, tokens)

`params` have the names and orientation of toylab (`W_E [d_vocab, d_model]`, `W_in [n_layers, d_model, d_mlp]`, …), so every
analyzer accepts them. To differentiate with respect to the embeddings of tokens, patch them in, before positions are added:
`net.apply(params, tokens, {"embed": lambda value, layer: E})` with E [B, P, d_model].

Layouts are named by the code whose arrays they have (columns: W x, a matrix is [out, in]; rows: x W):

    toylab             toylab's own names, a layer axis first
    transformer_lens   a HookedTransformer's state dict, or a TransformerBridge's tl_named_parameters(); rows; with or
                       without MLP, LayerNorm, biases
    transformer_bridge a TransformerBridge's state_dict(): TransformerLens' own model, GPT-2 or GPT-NeoX, torch Linear's
                       [out, in] but for GPT-2
    progress_measures  Nanda et al. 2023 (arXiv 2301.05217): columns but for W_U, causal; with "attn_blocks" attention alone
    pizza              Zhong et al. 2023 (arXiv 2306.17844): the transformer with attention rate α, columns but for W_U, no
                       mask; the linear models A, B, C, D (α, β, γ, δ), torch Linear's [out, in]
    universality       Chughtai et al. 2023 (arXiv 2302.03025): the MLP W_x, W_y, W, W_U; the transformer, as
                       transformer_lens but read at the last position
    grok               openai/grok, the code of Power et al. 2022 (arXiv 2201.02177): columns, LayerNorm behind each sum; a
                       module's state dict or that of its LightningModule ("transformer.…")
    danielmamay_grokking  the same network with learned positions, by torch's MultiheadAttention; as it is (layers.{}), and
                       as it was, with biases, GELU and a final LayerNorm (model.{})
    sae_lens           a dictionary of SAELens, `sae_weights.safetensors` with `cfg.json` beside it; rows. W_dec gets unit
                       rows by the same function, so latents are SAELens' times the norms (as by its fold_W_dec_norm)
    toy_models         Elhage et al. 2022 (arXiv 2209.10652): W [(instance,) n_features, n_hidden] and b_final
    gpt2, gpt_neox     Hugging Face's GPT2LMHeadModel and GPTNeoXForCausalLM (Pythia): a folder with its config.json, or a
                       state dict

A network of one's own: in place of a name, a mapping from the source's keys to toylab's names with their axes, theirs and
toylab's, by which the arrays become a source of layout toylab (rules.py has the notation; "{}" runs over layers):

    layout = {"embed.weight": "W_E: d_vocab d_model", "blocks.{}.up.weight": "W_in: d_mlp d_model -> d_model d_mlp", …}

Settings that the arrays do not determine are taken from `config`. Those that change the function are required:

pizza              act_fn and attn_coeff; model_type for its linear models B and C
progress_measures  act_type; of attention alone pos_embed_type
transformer_lens   the whole `cfg` of a model, or act_fn, attention_dir, normalization_type, … of it
transformer_bridge the same, with architecture and n_heads
gpt2, gpt_neox     the whole config, or the number of heads, the activation, … of it
grok               non_linearity; max_context_len where the buffers are not there
danielmamay_grokking  num_heads
sae_lens           its cfg.json, or architecture (standard, topk with k, or jumprelu)
toylab             the module, and the fields of its net that shapes do not determine
toy_models         instance

`guess(source)` says which layouts the keys of a source fit, and which settings each would still need; it loads nothing.

`universality` and the outputs of `toy_models` have only one value in their papers' code, which is used. Each layout has a
table of fields (settings.py has its rules, lens_fields.py is the longest). A field is read, ignored for a stated reason, or
refused. Fields that are not in the table are refused.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toylab.base import Params
from toylab.importers.files import settings_of
from toylab.importers.guessing import Guess as Guess
from toylab.importers.guessing import Guesses as Guesses
from toylab.importers.guessing import guess as guess
from toylab.importers.layouts import Layout
from toylab.importers.many import load_many as load_many
from toylab.importers.opening import Choice, opened
from toylab.importers.probe import check_doubtful, check_probe
from toylab.importers.saving import save as save
from toylab.importers.saving import save_many as save_many
from toylab.models import Net


def load(
    source: str | Path | Mapping[str, Any],
    layout: Layout | Mapping[str, str],
    *,
    config: Mapping[str, Any] | str | Path | None = None,
    ignore: Collection[str] = (),
    prefix: str = "",
    within: str = "",
    probe: tuple[Any, Any] | None = None,
    vocabulary: Sequence[int] | None = None,
) -> tuple[Net, Params]:
    """Loads a network and its params.

    Args:
        source: a `.npz`, `.safetensors` or `.pt` file (the last needs torch; it is read with `weights_only=True`), one of
            these named `.bin` or `.ckpt`, a folder of Hugging Face with its `config.json`, or a mapping of arrays.
        layout: of the source, or a mapping from its keys to toylab's names with their axes (above).
        config: a mapping, a model's `cfg` (any object with to_dict()) or a JSON file. It takes precedence over a file next
            to the source, `NAME.config.json`, or `config_NAME.json` for `model_NAME.pt`.
        ignore: keys of the source that are no weights.
        prefix: that every key begins with, as `model.` of a Lightning module's; it is taken off.
        within: the key of the state dict, where the source holds it beside other things. Not for Lightning's own
            checkpoints, whose weights are known to be in `state_dict`.
        probe: (tokens, logits) of the original network, with which the loaded one must agree. Nothing else finds a square
            matrix that is transposed, so a mapping of one's own that leaves that open needs it, with inputs on which each
            such matrix counts.
        vocabulary: entries of the source's vocabulary in the order in which the params have them, the others behind: those
            of the numbers 0 … p−1 first, which modular tasks and analyzers take, then "=" and the operation. The probe is
            in the source's own. By default nothing is moved.

    Returns:
        The network, and params in float32 (float64 where JAX has x64 enabled). float16 and bfloat16 become float32, which
        is exact.

    Raises:
        ValueError: in one sentence, with all keys that are unknown or of a wrong shape, or with the setting that is missing
            or wrong.
    """
    found = opened(source, layout, settings_of(config), Choice(ignore, prefix, within))
    check_doubtful(found.doubtful, probe)
    params = found.ordered(vocabulary).params(found.weights)
    if probe is not None:
        doubtful = [key for key in found.doubtful if not np.array_equal(found.weights[key], found.weights[key].T)]
        check_probe(found.net, found.weights, found.params, probe, doubtful)
    return found.net, params
