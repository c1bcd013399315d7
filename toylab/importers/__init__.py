"""Weights from elsewhere as a toylab network: `net, params = load(source, layout=…)`.

    net, params = load("model.pt", layout="pizza", config={"attn_coeff": 0.0, "act_fn": "ReLU"})
    logits, cache = net.apply(params, tokens)

`params` are named and turned as everywhere in toylab (`W_E [d_vocab, d_model]`, `W_in [n_layers, d_model, d_mlp]`, …), so
every analyzer takes them. To differentiate by the embeddings of tokens, patch them in, which every network of tokens takes:
`net.apply(params, tokens, {"embed": lambda value, layer: E})` with E [B, P, d_model], before positions are added.

Layouts, by the names and orientation of their arrays (columns: W x, a matrix is [out, in]; rows: x W):

    toylab             toylab's own names, a layer axis first
    transformer_lens   a HookedTransformer's state dict; rows; with or without MLP, LayerNorm, biases
    progress_measures  Nanda et al. 2023 (arXiv 2301.05217): columns but for W_U, causal
    pizza              Zhong et al. 2023 (arXiv 2306.17844): the transformer with attention rate α, columns but for W_U, no
                       mask; the linear models A, B, C, D (α, β, γ, δ), torch Linear's [out, in]
    universality       Chughtai et al. 2023 (arXiv 2302.03025): the MLP W_x, W_y, W, W_U; the transformer, as
                       transformer_lens but read at the last position
    toy_models         Elhage et al. 2022 (arXiv 2209.10652): W [(instance,) n_features, n_hidden] and b_final

What the arrays do not say stands in `config`, and is asked for where it changes the function: the activation and the
attention rate of `pizza` (act_fn, attn_coeff; model_type of its linear models B and C), act_type of `progress_measures`;
for `transformer_lens` a model's whole `cfg`, or act_fn, attention_dir, normalization_type, … of it; the module of `toylab`
and the fields of its net that shapes do not show; the instance of `toy_models`. Where a paper's code has one value alone
(`universality`, the outputs of `toy_models`), that one holds. Each field that a config may have is in its layout's table
(settings.py has the rules, lens_fields.py the longest): it is read, harmless for a reason, or refused; others are refused.
"""

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from toylab.base import Params
from toylab.importers import buffers, checks, safetensors, toys
from toylab.importers.files import arrays_of, settings_of
from toylab.importers.lens import LENS, UNIVERSAL_LENS
from toylab.importers.naming import printable_value
from toylab.importers.pairs import LINEAR, UNIVERSAL
from toylab.importers.probe import check_probe
from toylab.importers.rules import Arrays, Fit, Form, Settings, fit, fit_params
from toylab.importers.settings import check_fields
from toylab.importers.transformers import PIZZA, PROGRESS
from toylab.models import Net

Layout = Literal["toylab", "transformer_lens", "progress_measures", "pizza", "universality", "toy_models"]

FORMS: dict[str, tuple[Form, ...]] = {
    "toylab": toys.OWN,
    "transformer_lens": (LENS,),
    "progress_measures": (PROGRESS,),
    "pizza": (PIZZA, *LINEAR),
    "universality": (UNIVERSAL, UNIVERSAL_LENS),
    "toy_models": toys.TOY_MODELS,
}


def load(
    source: str | Path | Mapping[str, Any],
    layout: Layout,
    *,
    config: Mapping[str, Any] | str | Path | None = None,
    ignore: Collection[str] = (),
    probe: tuple[Any, Any] | None = None,
) -> tuple[Net, Params]:
    """The network and its params of a `.npz`, `.safetensors`, `.pt` (needs torch; `weights_only=True`) or a mapping.

    config: a mapping, a model's `cfg` (any object with to_dict()) or a JSON file; it goes over what is found beside the
    source (`NAME.config.json`, or `config_NAME.json` of `model_NAME.pt`). ignore: keys of the source that are declared to
    be no weights. probe: (tokens, logits) of the original network, with which the loaded one must agree: only that finds a
    square matrix that lies the wrong way.

    Every key must be known and of the right shape, or one ValueError lists all that are not. Arrays are float32 (float64
    where jax has x64 enabled); float16 and bfloat16 become float32, which is exact.
    """
    forms = _forms(layout)
    if isinstance(ignore, str) or not isinstance(ignore, Collection):
        raise ValueError(f"ignore is {ignore!r}: it must be a list of keys.")
    ignore = [str(key) for key in ignore]
    arrays, found = arrays_of(source, layout, ignore)
    given = found | settings_of(config)
    arrays, beside = buffers.apart(forms, checks.declared(arrays, ignore))
    arrays = checks.present(arrays)
    if layout == "toy_models":
        arrays = checks.instance(arrays, given)
    shapes = {key: array.shape for key, array in arrays.items()}
    best = min((fit(form, shapes) for form in forms), key=lambda found: found.n_problems)
    if best.n_problems and layout == "toylab" and "module" in given:
        return _of_module(arrays, given, probe)
    if best.n_problems:
        looks = checks.hint(FORMS, layout, best, shapes) or checks.prefixed(forms, best, shapes)
        raise ValueError(f"source does not fit layout {layout} ({best.form.what}): {best.problems()}{looks}.")
    if layout != "toylab":  # whose fields are those of the module that config names: toys.typed
        check_fields(given, best.form.fields, best.form.traits(best.parts, given))
    weights = {key: checks.values(key, arrays[key]) for rule in best.rules for key in rule.keys(best.n_layers)}
    best = checks.without_zeros(best, weights)
    net = best.form.net(best.sizes, best.parts, given).check()
    buffers.check(net, beside)
    return _checked(net, weights, partial(_converted, best, net), probe)


def _converted(best: Fit, net: Net, weights: Arrays) -> Params:
    arrays = {rule.name: rule.read(weights, best.n_layers, best.sizes) for rule in best.rules}
    return checks.as_params(arrays | best.form.implied(net, arrays))


def _of_module(arrays: Arrays, given: Settings, probe: Any) -> tuple[Net, Params]:
    """A net of any module of toylab, all of whose fields config gives."""
    module = toys.module_of(given, Net)
    known = toys.typed(module, given, max(max(x.shape, default=1) for x in arrays.values()))
    toys.require_all(module, known)
    net = Net.of(module, **known).check()
    return _checked(net, {key: checks.values(key, array) for key, array in arrays.items()}, checks.as_params, probe)


def _checked(
    net: Net, weights: Arrays, converted: Callable[[Arrays], Params], probe: tuple[Any, Any] | None
) -> tuple[Net, Params]:
    params = checks.fitting(net, converted(weights))
    if probe is not None:
        check_probe(net, weights, converted, probe)
    return net, params


def save(params: Params, path: str | Path, layout: Layout, *, net: Net | None = None) -> None:
    """Write params as `.safetensors` in a layout's names and orientation; `load` gives the same bits back.

    With its net the file also says what arrays do not (activation, attention rate, …), and loads without a config. Masks
    are not written.
    """
    forms, path = _forms(layout), Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path is {path}: it must end in .safetensors.")
    if not path.parent.is_dir():
        raise ValueError(f"path is {path}: there is no folder {path.parent}.")
    arrays = {name: checks.values(name, np.asarray(value)) for name, value in params.items()}
    settings = toys.settings_of_net(net) if net is not None else None
    if net is not None:
        checks.fitting(net, params, "params do")
    if layout != "toylab":
        shapes = {name: array.shape for name, array in arrays.items()}
        best = min((fit_params(form, shapes) for form in forms), key=lambda found: found.n_problems)
        if best.n_problems:
            raise ValueError(f"params do not fit layout {layout} ({best.form.what}): {best.problems()}.")
        arrays = checks.their_arrays(best, arrays)
        settings = checks.settings_for(best, net, layout) if net is not None else None
    about = {"layout": layout} | ({"settings": json.dumps(settings)} if settings is not None else {})
    safetensors.write(path, arrays, about)


def _forms(layout: str) -> tuple[Form, ...]:
    if not isinstance(layout, str) or layout not in FORMS:
        raise ValueError(f"layout is {printable_value(layout)}: it must be one of {', '.join(get_args(Layout))}.")
    return FORMS[layout]
