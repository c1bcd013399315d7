"""What a source must be before it becomes params: each refusal is one sentence."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from toylab.base import Params
from toylab.importers.naming import Refusal, listed, printable, printable_value
from toylab.importers.rules import Arrays, Fit, Form, Settings, fit
from toylab.models import Net


def declared(arrays: Arrays, ignore: Collection[str]) -> Arrays:
    """The arrays without those that are declared to be no weights, and without empty `_extra_state`s of torch modules."""
    if absent := sorted(set(ignore) - set(arrays)):
        raise Refusal(f"ignore names {listed(absent)}: the source has {listed(sorted(arrays))}.")
    kept = {key: array for key, array in arrays.items() if key not in ignore}
    return {key: array for key, array in kept.items() if not (key.endswith("_extra_state") and array.size == 0)}


def present(arrays: Arrays) -> Arrays:
    if not arrays:
        raise Refusal("source holds no arrays.")
    if empty := sorted(f"{printable(key)} {list(array.shape)}" for key, array in arrays.items() if array.size == 0):
        raise Refusal(f"source has empty arrays: {listed(empty, each=160)}.")
    return arrays


def values(key: str, array: np.ndarray) -> np.ndarray:
    """An array of weights: finite floats, float16 as float32."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False) if array.dtype.kind == "f" else array
    if array.dtype.kind not in "fV" or str(array.dtype) not in ("float16", "float32", "float64", "bfloat16"):
        raise Refusal(f"{printable(key)} has dtype {array.dtype}: weights are float16, float32, float64 or bfloat16.")
    array = array.astype(np.float32) if array.dtype.itemsize == 2 else array
    with np.errstate(over="ignore"):  # float64 beyond float32, which params are, is inf
        kept = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    if n_bad := int(np.size(array) - np.count_nonzero(np.isfinite(kept))):
        raise Refusal(
            f"{printable(key)} has {n_bad:,} of {array.size:,} entries nan or inf: weights must be finite {kept.dtype}."
        )
    return array


def instance(arrays: Arrays, given: Settings) -> Arrays:
    """One of the models that the toy models' code trains side by side: config.instance of the first axis."""
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
    """Which other layouts the keys and shapes fit better."""
    others = {name: min(fit(form, shapes).n_problems for form in own) for name, own in forms.items() if name != layout}
    least = min(others.values())
    if least >= best.n_problems or 2 * least > len(shapes):
        return ""
    named = " or ".join(name for name, n_problems in others.items() if n_problems == least)
    return f"; the keys look like layout {named}"


def prefixed(forms: Sequence[Form], best: Fit, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What all keys begin with, as DataParallel's "module.", where they fit better without it."""
    same = [parts[0] for parts in zip(*(key.split(".")[:-1] for key in shapes), strict=False) if len(set(parts)) == 1]
    shared = "".join(f"{part}." for part in same)
    if not all(key.startswith(shared) for key in shapes):
        return ""
    bare = {key.removeprefix(shared): shape for key, shape in shapes.items()}
    better = shared and min(fit(form, bare).n_problems for form in forms) < best.n_problems
    return (
        f"; every key begins with {printable(shared)}: hand over a mapping of the arrays by keys without it"
        if better
        else ""
    )


def without_zeros(best: Fit, weights: Arrays) -> Fit:
    """The fit without the form's droppable part where all of its arrays are 0: frozen biases."""
    part = best.form.droppable
    rules = [rule for rule in best.rules if part in rule.parts]
    if not rules or any(weights[key].any() for rule in rules for key in rule.keys(best.n_layers)):
        return best
    return replace(best, parts=best.parts - {part})


def fitting(net: Net, params: Params, what: str = "source does") -> Params:
    """The params if they are what the net takes: the last line behind all other checks."""
    wanted = {name: value.shape for name, value in jax.eval_shape(net.init, jax.random.key(0)).items()}
    found = {name: tuple(value.shape) for name, value in params.items()}
    if found == wanted:
        return params
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    misshapen = [
        f"{printable(name)} {list(found[name])} where {list(wanted[name])} is wanted"
        for name in sorted(set(found) & set(wanted))
        if found[name] != wanted[name]
    ]
    named = {"missing": missing, "extra": extra, "misshapen": misshapen}
    problems = "; ".join(f"{what} {listed(names, each=160)}" for what, names in named.items() if names)
    raise Refusal(f"{what} not fit {net.module.__name__}: {problems}.")


def their_arrays(best: Fit, arrays: Arrays) -> Arrays:
    """A layout's arrays of params, its droppable part written as 0 where it was dropped."""
    written: Arrays = {}
    for rule in best.rules:
        written |= rule.write(arrays[rule.name], best.n_layers, best.sizes)
    part = best.form.droppable
    if part and part not in best.parts:
        for rule in best.form.rules:
            if rule.parts == (part,):
                written |= rule.zeros(best.n_layers, best.sizes)
    return written


def as_params(arrays: Arrays) -> Params:
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def settings_for(best: Fit, net: Net, layout: str) -> dict[str, Any]:
    """What a layout's config says of a net, if by that it can be told from all others."""
    try:
        settings = best.form.settings(net)
        again = best.form.net(best.sizes, best.parts, settings)
    except (AttributeError, KeyError) as error:
        raise Refusal(f"net is a {net.module.__name__}: layout {layout} has no such network.") from error
    if again.module is not net.module:
        raise Refusal(f"net is a {net.module.__name__}: layout {layout} holds a {again.module.__name__}.")
    for name, (_, value) in net.module_fields().items():
        if not name.startswith("init_") and name not in ("d_head", "bias_std") and value != getattr(again, name):
            raise Refusal(f"net.{name} is {value!r}: layout {layout} has it {getattr(again, name)!r} only.")
    return settings
