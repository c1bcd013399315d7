"""Activations and patches by TransformerLens' hook names, in its axes, for those who know them by these.

    TransformerLens, layer L                  toylab, layer axis first    its axes
    blocks.L.hook_resid_pre                   resid_pre                   [B, P, d_model]
    blocks.L.hook_resid_mid                   resid_pre + attn_out        [B, P, d_model]; not patched
    blocks.L.hook_resid_post                  resid_post                  [B, P, d_model]
    blocks.L.hook_attn_out, hook_mlp_out      attn_out, mlp_out           [B, P, d_model]
    blocks.L.attn.hook_q, hook_k, hook_v      q, k, v                     [B, P, H, d_head], here [B, H, P, d_head]
    blocks.L.attn.hook_z                      z                           [B, P, H, d_head], here [B, H, P, d_head]
    blocks.L.attn.hook_result                 result                      [B, P, H, d_model], here [B, H, P, d_model]
    blocks.L.attn.hook_attn_scores            scores                      [B, H, P, P], the mask included
    blocks.L.attn.hook_pattern                pattern                     [B, H, P, P]
    blocks.L.mlp.hook_pre, hook_post          mlp_pre, mlp_post           [B, P, d_mlp]
    blocks.L.hook_q_input, … k, v             q_input, k_input, v_input   [B, P, H, d_model], here [B, H, P, …]; patched
    blocks.L.hook_mlp_in                      mlp_input                   [B, P, d_model]; patched
    hook_embed                                embed                       [B, P, d_model]; patched

Those that say "patched" can be patched and are in no cache. TransformerLens' other hooks (hook_pos_embed,
ln1.hook_scale, attn.hook_rot_q, …) have no counterpart.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Shaped

from toylab.base import Patch
from toylab.shapes import shaped

Cached = Mapping[str, Shaped[ArrayLike, "n_layers ..."]]
"""Activations by toylab's names, layer axis first."""


class Counterpart(NamedTuple):
    """What a hook is called here, whether heads come before positions here and after them there, and its axes."""

    name: str
    heads: bool = False
    axes: int = 3


READ = {
    "hook_resid_pre": Counterpart("resid_pre"), "hook_resid_post": Counterpart("resid_post"),
    "hook_attn_out": Counterpart("attn_out"), "hook_mlp_out": Counterpart("mlp_out"),
    **{f"attn.hook_{name}": Counterpart(name, heads=True, axes=4) for name in ("q", "k", "v", "z", "result")},
    "attn.hook_attn_scores": Counterpart("scores", axes=4), "attn.hook_pattern": Counterpart("pattern", axes=4),
    "mlp.hook_pre": Counterpart("mlp_pre"), "mlp.hook_post": Counterpart("mlp_post"),
}  # fmt: skip
PATCHED = {  # and not in the cache
    **{f"hook_{name}_input": Counterpart(f"{name}_input", heads=True, axes=4) for name in "qkv"},
    "hook_mlp_in": Counterpart("mlp_input"),
}
MIDDLE = "hook_resid_mid"
EMBED = "hook_embed"
OTHERS = re.compile(  # of TransformerLens 2 to 4, without a counterpart
    r"(blocks\.\d+\.)?((ln1|ln2|attn|mlp|ln_final|embed|pos_embed|unembed|q|k|v|o|in|out|gate)\.)*"
    r"hook_(in|out|scale|normalized|rot_q|rot_k|pos_embed|unembed|tokens|attn_in|pre_linear|resid_mid)"
)


def toylab_name(hook: str) -> tuple[str, int]:
    """What a hook is called here: `("pattern", 0)` of `blocks.0.attn.hook_pattern`.

    Args:
        hook: TransformerLens' name.

    Returns:
        The name of an activation of the cache, or of a patch, and its layer.

    Raises:
        ValueError: For names that are no hooks, with near ones, and for hooks that have no counterpart.
    """
    layer, counterpart = _found(hook)
    if counterpart is None:
        why = "is the sum of resid_pre and attn_out here" if hook.endswith(MIDDLE) else "has no counterpart here"
        raise ValueError(f"hook {hook} {why}: the names are those of the table in toylab.analysis.attention.hooks.")
    return counterpart.name, layer


def hook_name(name: str, layer: int) -> str:
    """TransformerLens' name of an activation: `blocks.0.attn.hook_pattern` of `("pattern", 0)`.

    Args:
        name: Of the cache or a patch.
        layer: Its layer, from 0.

    Raises:
        ValueError: For a name that is none, with near ones, a layer below 0, and embed of another layer than 0.
    """
    names = {one.name: hook for hook, one in {**READ, **PATCHED}.items()} | {"embed": EMBED}
    if name not in names:
        raise ValueError(f"name is {name!r}: it must be {_near(name, names)}")
    if layer < 0 or (name == "embed" and layer):
        raise ValueError(f"layer is {layer}: it must be {'0 of embed' if name == 'embed' else 'at least 0'}.")
    return EMBED if name == "embed" else f"blocks.{layer}.{names[name]}"


@shaped
def activation(cache: Cached, hook: str) -> Shaped[Array, "B ..."]:
    """One activation by TransformerLens' name, in its axes.

    Args:
        cache: Of a forward pass here.
        hook: TransformerLens' name.

    Returns:
        An array as TransformerLens' cache has it, `[B, P, H, d_head]` of `blocks.0.attn.hook_z`.

    Raises:
        ValueError: For names that are no hooks, with near ones, for what the cache does not have, and for layers that
            are not there.
    """
    layer, counterpart = _found(hook)
    needed = ("resid_pre", "attn_out") if hook.endswith(f".{MIDDLE}") else (counterpart.name,) if counterpart else ()
    if not needed or any(name not in cache for name in needed):
        raise ValueError(f"hook {hook} is not in this cache: it has {', '.join(hook_names(cache)) or 'none'}.")
    first, *more = (jnp.asarray(cache[name]) for name in needed)
    if layer >= len(first):
        raise ValueError(f"hook {hook} is of layer {layer}: the cache has the layers 0 to {len(first) - 1}.")
    value = first[layer] + more[0][layer] if more else first[layer]
    return _turned(value, counterpart)


@shaped
def hook_names(cache: Cached) -> tuple[str, ...]:
    """TransformerLens' names of what a cache has, layer by layer.

    Args:
        cache: Of a forward pass here.
    """
    there = [hook for hook, one in READ.items() if one.name in cache]
    there += [MIDDLE] if {"resid_pre", "attn_out"} <= set(cache) else []
    n_layers = max((jnp.shape(value)[0] for value in cache.values()), default=0)
    return tuple(f"blocks.{layer}.{hook}" for layer in range(n_layers) for hook in there)


@shaped
def to_hooks(cache: Cached) -> dict[str, Array]:
    """A cache with TransformerLens' names and axes.

    Args:
        cache: Of a forward pass here.

    Returns:
        By hook, the arrays of each layer, `hook_resid_mid` included. Names here without a counterpart are left out.
    """
    return {hook: activation(cache, hook) for hook in hook_names(cache)}


@shaped
def from_hooks(hooks: Mapping[str, Shaped[ArrayLike, "..."]]) -> dict[str, Shaped[Array, "n_layers ..."]]:
    """A cache of TransformerLens with the names and axes here, for the functions that take one.

    Args:
        hooks: TransformerLens' cache, with a batch axis: arrays or tensors by name.

    Returns:
        Arrays [L, B, …] by the names here. Hooks without a counterpart in the cache (norms, embeddings, inputs) are
        left out.

    Raises:
        ValueError: For names that are no hooks, with near ones, for arrays without a batch axis, for layers that lack what
            others have, and for shapes that differ between layers.
    """
    found: dict[str, dict[int, Array]] = {}
    for hook, value in hooks.items():
        layer, counterpart = _found(hook)
        if counterpart is not None and counterpart in READ.values():
            if jnp.ndim(value) != counterpart.axes:
                raise ValueError(
                    f"hook {hook} has shape {jnp.shape(value)}: it must have {counterpart.axes} axes, the batch's first."
                )
            found.setdefault(counterpart.name, {})[layer] = _turned(jnp.asarray(value), counterpart)
    n_layers = 1 + max((layer for own in found.values() for layer in own), default=-1)
    for name, own in found.items():
        if lacking := [layer for layer in range(n_layers) if layer not in own]:
            raise ValueError(f"hook {hook_name(name, lacking[0])} is missing: layer {min(own)} has it.")
        if len(shapes := dict.fromkeys(value.shape for value in own.values())) > 1:
            raise ValueError(f"{name} has the shapes {', '.join(map(str, shapes))}: layers must have the same one.")
    return {name: jnp.stack([own[layer] for layer in range(n_layers)]) for name, own in found.items()}


def hook_patch(hooks: Mapping[str, Callable[[Array], Array]], n_layers: int) -> Patch:
    """A patch for `net.apply(params, x, patch)` of functions by TransformerLens' hook names.

    Args:
        hooks: By hook, a function of the activation in TransformerLens' axes; its result replaces it.
        n_layers: Of the network.

    Returns:
        The patch; each function is called at its own layer alone.

    Raises:
        ValueError: For names that are no hooks, with near ones, hooks that cannot be patched, layers that are not
            there, and what is no function.
    """
    by_name: dict[str, dict[int, str]] = {}
    for hook, function in hooks.items():
        name, layer = toylab_name(hook)
        if layer >= n_layers:
            raise ValueError(f"hook {hook} is of layer {layer}: the network has the layers 0 to {n_layers - 1}.")
        if not callable(function):
            raise ValueError(f"hook {hook} has a {type(function).__name__}: it must be a function of the activation.")
        by_name.setdefault(name, {})[layer] = hook

    def at_layers(name: str) -> Callable[[Array, int], Array]:
        def replaced(value: Array, layer: int) -> Array:
            if layer not in by_name[name]:
                return value
            hook = by_name[name][layer]
            counterpart = _found(hook)[1]
            given = _turned(value, counterpart)
            found = jnp.asarray(hooks[hook](given))
            if found.shape != given.shape:
                raise ValueError(f"the function of {hook} gives {found.shape}: it must give {given.shape}, as it gets.")
            return _turned(found, counterpart)

        return replaced

    return {name: at_layers(name) for name in by_name}


def _found(hook: str) -> tuple[int, Counterpart | None]:
    """Layer and counterpart of a hook; None for a hook that has none."""
    if hook == EMBED:
        return 0, Counterpart("embed")
    inside = re.fullmatch(r"blocks\.(0|[1-9]\d*)\.(.+)", str(hook))
    layer, own = (int(inside[1]), inside[2]) if inside else (0, "")
    if own in READ or own in PATCHED:
        return layer, {**READ, **PATCHED}[own]
    if OTHERS.fullmatch(str(hook)):
        return layer, None
    known = [EMBED, *(f"blocks.{layer}.{name}" for name in (*READ, MIDDLE, *PATCHED))]
    raise ValueError(f"hook {hook!r} is none: it must be {_near(str(hook), known)}")


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 3, 0.5)
    return f"{' or '.join(near) or 'one of ' + ', '.join(names)}."


def _turned(value: Array, counterpart: Counterpart | None) -> Array:
    """[B, P, H, …] as [B, H, P, …], or the other way round, where heads are told apart."""
    return jnp.swapaxes(value, 1, 2) if counterpart and counterpart.heads else value
