"""Names for the arrays of a network that is held as a pytree."""

from typing import Any

import jax
from flax import nnx


def is_module(value: Any) -> bool:
    """Whether a value is an nnx.Module."""
    return isinstance(value, nnx.Module)


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by dotted path, as `layers.0.kernel`; of an nnx.Module its nnx.Params alone.

    Args:
        tree: an nnx.Module or its state, params of flax.linen, or any pytree of arrays.

    Raises:
        ValueError: where two leaves have one name.
    """
    tree = nnx.state(tree, nnx.Param) if is_module(tree) else tree
    leaves = [(name_of(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]]
    named = dict(leaves)
    if len(named) < len(leaves):
        names = [name for name, _ in leaves]
        raise ValueError(
            f"two arrays are named {next(name for name in names if names.count(name) > 1)}: give mappings."
        )
    return named


def name_of(path: tuple[Any, ...]) -> str:
    """A leaf's path as a name. The `value` of an nnx.Variable is no part of it."""
    parts = (getattr(entry, "key", getattr(entry, "idx", getattr(entry, "name", ""))) for entry in path)
    return ".".join(str(part) for entry, part in zip(path, parts, strict=True) if not _is_value(entry))


def _is_value(entry: Any) -> bool:
    return isinstance(entry, jax.tree_util.GetAttrKey) and entry.name in ("value", "raw_value")
