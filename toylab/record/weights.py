"""The weights of a network in PyTorch, Flax or NumPy as arrays on the host that nothing changes any more."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from toylab.importers.naming import Refusal
from toylab.importers.torch_files import plain
from toylab.models.named import is_module, named_leaves
from toylab.store import Arrays

WANTED = "a module, its state_dict(), a mapping of arrays or a pytree of them, or a function that gives one of these"


def host_arrays(source: Any) -> Arrays:
    """The arrays of a source by name, copied: what an optimizer later writes into the source's own changes none of them.

    Args:
        source: a torch module or its state_dict; an nnx.Module, its state, or params of flax.linen (with or without
            "params" around them); any mapping of arrays, also nested; or a function that gives one of these.

    Returns:
        Arrays by name; where they are nested a dotted one, as layers.0.kernel.

    Raises:
        Refusal: where there is something else, two arrays have one name, or something is no array.
    """
    return {key: _copied(plain(key, value)) for key, value in _named(source).items()}


def _copied(array: np.ndarray) -> np.ndarray:
    """A copy; half precision as float32, which is exact."""
    return np.array(array, np.float32 if str(array.dtype) in ("float16", "bfloat16") else None, order="C")


def _named(source: Any) -> dict[str, Any]:
    if callable(getattr(source, "state_dict", None)):
        source = source.state_dict()
    elif callable(source) and not is_module(source):
        source = source()
    if isinstance(source, Mapping) and all(map(_is_array, source.values())):
        named = {str(key): value for key, value in source.items()}
        if len(named) < len(source):
            raise Refusal("params has two keys that are the same as text: each must stand there once.")
        return named
    if isinstance(source, Mapping) and list(source) == ["params"]:  # as flax.linen has them
        source = source["params"]
    if source is None or (not is_module(source) and jax.tree_util.all_leaves([source])):
        raise Refusal(f"params is a {type(source).__name__}: it must be {WANTED}.")
    try:
        return named_leaves(source)
    except ValueError as error:
        raise Refusal(f"params: {error}") from None


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | jax.Array) or hasattr(value, "detach")
