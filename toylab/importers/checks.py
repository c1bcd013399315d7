"""Checks of a source before it becomes params. Each error is one sentence."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from toylab.base import Params
from toylab.importers.files import is_hollow_state
from toylab.importers.naming import Refusal, listed, printable, printable_value
from toylab.importers.rules import Arrays, Fit, Form, Settings, fit
from toylab.models import Net


def declared(arrays: Arrays, ignore: Collection[str]) -> Arrays:
    """The arrays without ignored ones, and without empty `_extra_state`s of torch modules."""
    if absent := sorted(set(ignore) - set(arrays)):
        raise Refusal(f"ignore names {listed(absent)}: the source has {listed(sorted(arrays))}.")
    kept = {key: array for key, array in arrays.items() if key not in ignore}
    return {key: array for key, array in kept.items() if not is_hollow_state(key, array.shape)}


def bare(found: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The same by keys without a prefix, which every key must have."""
    if other := sorted(key for key in found if not key.startswith(prefix)):
        raise Refusal(
            f"prefix is {printable(prefix)!r}: {listed(other)} do not begin with it; name in ignore= what is no weight."
        )
    return {key.removeprefix(prefix): value for key, value in found.items()}


def present(arrays: Arrays) -> Arrays:
    """The arrays. Raises Refusal where there are none, or some are empty."""
    if not arrays:
        raise Refusal("source holds no arrays.")
    if empty := sorted(f"{printable(key)} {list(array.shape)}" for key, array in arrays.items() if array.size == 0):
        raise Refusal(f"source has empty arrays: {listed(empty, each=160)}.")
    return arrays


def values(key: str, array: np.ndarray) -> np.ndarray:
    """An array of weights: finite floats, with half precision as float32."""
    if array.dtype == np.float32 and array.dtype.isnative and np.isfinite(array).all():
        return array
    array = array.astype(array.dtype.newbyteorder("="), copy=False) if array.dtype.kind == "f" else array
    if array.dtype.kind not in "fV" or str(array.dtype) not in ("float16", "float32", "float64", "bfloat16"):
        raise Refusal(f"{printable(key)} has dtype {array.dtype}: weights are float16, float32, float64 or bfloat16.")
    array = array.astype(np.float32) if array.dtype.itemsize == 2 else array
    with np.errstate(over="ignore"):  # float64 values beyond float32 become inf
        kept = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    if not (finite := np.isfinite(kept)).all():
        n_bad = np.size(array) - np.count_nonzero(finite)
        raise Refusal(
            f"{printable(key)} has {n_bad:,} of {array.size:,} entries nan or inf: weights must be finite {kept.dtype}."
        )
    return array


def instance(arrays: Arrays, given: Settings) -> Arrays:
    """One of the models that the code of toy_models trains side by side: config.instance on the first axis."""
    W = arrays.get("W")
    if W is None or W.ndim != 3:
        return arrays
    chosen: Any = given.get("instance", 0 if len(W) == 1 else None)
    if isinstance(chosen, bool) or not isinstance(chosen, int | np.integer) or not 0 <= chosen < len(W):
        raise Refusal(
            f"config.instance is {printable_value(chosen)}: W has {len(W)} instances, so it must be 0 to {len(W) - 1}; "
            "load one at a time."
        )
    return {key: array[chosen] if array.shape[:1] == W.shape[:1] else array for key, array in arrays.items()}


def hint(forms: Mapping[str, tuple[Form, ...]], layout: str, best: Fit, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A hint where keys and shapes fit another layout better; "" otherwise."""
    others = {name: min(fit(form, shapes).n_problems for form in own) for name, own in forms.items() if name != layout}
    least = min(others.values())
    if least >= best.n_problems or 2 * least > len(shapes):
        return ""
    named = " or ".join(name for name, n_problems in others.items() if n_problems == least)
    return f"; the keys look like layout {named}"


def prefixed(
    forms: Sequence[Form], best: Fit, shapes: Mapping[str, tuple[int, ...]], given: Settings = MappingProxyType({})
) -> str:
    """A hint where keys fit better without a common prefix, as DataParallel's "module."; "" otherwise."""
    for shared in shared_prefixes(shapes):
        if min(fit(form, bare(shapes, shared), given).n_problems for form in forms) < best.n_problems:
            return f"; every key begins with {printable(shared)}: say prefix={printable(shared)!r}"
    return ""


def shared_prefixes(keys: Collection[str]) -> list[str]:
    """What every key begins with, up to a dot, the shortest first."""
    columns = zip(*(key.split(".")[:-1] for key in keys), strict=False)
    same = list(takewhile(lambda parts: len(set(parts)) == 1, columns))
    return ["".join(f"{parts[0]}." for parts in same[: i + 1]) for i in range(len(same))]


def without_zeros(best: Fit, weights: Arrays) -> Fit:
    """The fit without its droppable part (frozen biases) if all arrays of that are 0."""
    part = best.form.droppable
    rules = [rule for rule in best.rules if part in rule.parts]
    if not rules or any(weights[key].any() for rule in rules for key in rule.keys(best.n_layers, best.sizes)):
        return best
    return replace(best, parts=best.parts - {part})


def fitting(net: Net, params: Params, what: str = "source does") -> Params:
    """The params, checked once more against names and shapes of the net."""
    fitting_shapes(net, {name: tuple(value.shape) for name, value in params.items()}, what)
    return params


def fitting_shapes(net: Net, found: Mapping[str, tuple[int, ...]], what: str = "source does") -> None:
    named = unfit(net, found)
    if problems := "; ".join(f"{what} {listed(names, each=160)}" for what, names in named.items() if names):
        raise Refusal(f"{what} not fit {net.module.__name__}: {problems}.")


def unfit(net: Net, found: Mapping[str, tuple[int, ...]]) -> dict[str, list[str]]:
    """The names that are missing, extra or misshapen in params of these shapes."""
    wanted = {name: value.shape for name, value in jax.eval_shape(net.init, jax.random.key(0)).items()}
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    misshapen = [
        f"{printable(name)} {list(found[name])} where {list(wanted[name])} is wanted"
        for name in sorted(set(found) & set(wanted))
        if found[name] != wanted[name]
    ]
    return {"missing": missing, "extra": extra, "misshapen": misshapen}


def their_arrays(best: Fit, arrays: Arrays) -> Arrays:
    """The arrays of a layout for params. A droppable part that is missing is written as 0."""
    arrays_of_layout: Arrays = {}
    for rule in best.rules:
        arrays_of_layout |= rule.write(arrays, best.n_layers, best.sizes)
    part = best.form.droppable
    if part and part not in best.parts:
        for rule in best.form.rules:
            if rule.parts == (part,):
                arrays_of_layout |= rule.zeros(best.n_layers, best.sizes)
    return arrays_of_layout


def as_params(arrays: Arrays) -> Arrays:
    """The arrays by the precision of JAX: float32, or float64 with x64 enabled."""
    return {
        name: array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False) for name, array in arrays.items()
    }


def settings_for(best: Fit, net: Net, layout: str) -> dict[str, Any]:
    """The settings by which a layout describes a net. Raises Refusal where the layout has no such net."""
    try:
        settings = best.form.settings(net)
        again = best.form.net(best.sizes, best.parts, settings)
    except (AttributeError, KeyError) as error:
        raise Refusal(f"net is a {net.module.__name__}: layout {layout} has no such network.") from error
    if again.module is not net.module:
        raise Refusal(f"net is a {net.module.__name__}: layout {layout} holds a {again.module.__name__}.")
    for name, (_, value) in net.module_fields().items():
        if name == "rotary_dim" and (value or net.d_head or net.d_model // net.n_heads) == again.rotary_dim:
            continue  # 0: all of a head
        if not name.startswith("init_") and name not in ("d_head", "bias_std") and value != getattr(again, name):
            raise Refusal(f"net.{name} is {value!r}: layout {layout} has it {getattr(again, name)!r} only.")
    return settings
